import Postgres
import Tenancy

/// Writes batches over one connection of its own, which it makes again when it breaks.
///
/// It belongs to one thread.
struct BatchWriter {
    private let database: SystemDatabase
    private var connection: SystemConnection?

    private static let attempts = 3

    init(database: SystemDatabase) { self.database = database }

    /// Writes all commits and returns the ones that the database refused for their own sake, by index.
    ///
    /// A refusal halves the batch until the bad commit is alone, so one bad row costs a few round trips and fails nobody else.
    /// - Throws: `PostgresError` when the database is away; then any part may have been written, and all must be written again.
    mutating func write(_ commits: ArraySlice<Commit>) throws -> [Int: PostgresError] {
        do {
            try writeAll(commits)
            return [:]
        } catch let error as PostgresError where !error.isUnavailable && !error.isTransient {
            guard commits.count > 1 else { return [commits.startIndex: error] }
            let middle = commits.startIndex + commits.count / 2
            var refused = try write(commits[..<middle])
            refused.merge(try write(commits[middle...])) { first, _ in first }
            return refused
        }
    }

    /// Whether the database answers.
    mutating func probe() -> Bool {
        do {
            try use { try $0.query("SELECT 1") }
            return true
        } catch {
            return false
        }
    }

    /// One transaction. When the connection was lost its outcome is unknown, and writing again is right: the statements make twice equal once.
    private mutating func writeAll(_ commits: ArraySlice<Commit>) throws {
        for attempt in 1...Self.attempts {
            do {
                return try use { try $0.write(commits) }
            } catch let error as PostgresError where attempt < Self.attempts && (error.isOutcomeUnknown || error.isTransient) {
                continue
            }
        }
    }

    private mutating func use(_ body: (SystemConnection) throws -> Void) throws {
        let connection = try self.connection ?? database.connect()
        self.connection = nil
        try body(connection)
        self.connection = connection
    }
}
