import Crypto
import OpenAI
import Postgres
import Server
import Tenancy
import Threads

/// The data keys of projects, out of Postgres and for a minute out of memory. Nobody else unwraps them, and nothing logs them.
///
/// It asks the pool for a connection of its own: do not seal or open while holding one; take a `ProjectSealer` before.
public final class DataKeys: DataKeySource {
    private let database: SystemDatabase
    private let masters: MasterKeys
    private let lifetime: Duration
    private let capacity: Int
    private let tables = Lock(Tables())

    private struct Entry {
        var key: DataKey
        var project: String
        var readAt: ContinuousClock.Instant
    }

    private struct Tables {
        /// By project and id.
        var byID: [String: Entry] = [:]
        /// The id of the key that seals, by project.
        var current: [String: Entry] = [:]
        /// Counts what was forgotten, so that a read that began before is not kept.
        var forgettings = 0
    }

    public init(database: SystemDatabase, masters: MasterKeys, lifetime: Duration = .seconds(60), capacity: Int = 10_000) {
        self.database = database
        self.masters = masters
        self.lifetime = lifetime
        self.capacity = capacity
    }

    public func current(of project: String) throws -> DataKey {
        try remembered(project, in: \.current) {
            guard let id = ID<Project>(project) else { throw SealingError.noKey }
            return try database.withConnection { connection in
                try connection.currentDataKey(of: id) ?? connection.makeDataKey(of: id, masters)
            }
        }
    }

    public func key(_ id: String, of project: String) throws -> DataKey {
        try remembered("\(project) \(id)", in: \.byID) {
            guard let owner = ID<Project>(project),
                let key = try database.withConnection({ try $0.dataKey(id, of: owner) })
            else { throw SealingError.noKey }
            return key
        }
    }

    /// Forgets the keys of a project that a message of the invalidation channel names, `data_keys:<id>`; others are not for us.
    public func invalidate(message: String) {
        guard message.hasPrefix("data_keys:") else { return }
        let project = message.dropFirst("data_keys:".count)
        tables.withLock { tables in
            tables.forgettings += 1
            tables.byID = tables.byID.filter { $0.value.project != project }
            tables.current = tables.current.filter { $0.value.project != project }
        }
    }

    /// Forgets everything, for when messages may have been missed.
    public func flush() { tables.withLock { $0 = Tables(forgettings: $0.forgettings + 1) } }

    private func remembered(
        _ name: String, in table: WritableKeyPath<Tables, [String: Entry]>, read: () throws -> WrappedDataKey
    ) throws -> DataKey {
        let now = ContinuousClock.now
        let (known, forgettings) = tables.withLock { ($0[keyPath: table][name], $0.forgettings) }
        if let known, now - known.readAt < lifetime { return known.key }
        let wrapped = try read()
        let entry = Entry(key: try masters.unwrap(wrapped), project: wrapped.project, readAt: now)
        tables.withLock { tables in
            guard tables.forgettings == forgettings else { return }
            if tables[keyPath: table].count >= capacity {
                tables[keyPath: table] = tables[keyPath: table].filter { now - $0.value.readAt < lifetime }
            }
            if tables[keyPath: table].count >= capacity { tables[keyPath: table] = [:] }
            tables[keyPath: table][name] = entry
        }
        return entry.key
    }
}
