import Foundation

/// Forward-only changes of the schema: files `<timestamp>_<verb>_<noun>.sql`, applied in the order of their names, each in a transaction of its
/// own together with its line in `schema_migrations`.
public struct Migrations: Sendable {
    public struct File: Sendable {
        /// The file's name without its extension.
        public var name: String
        public var sql: String
    }

    public let files: [File]

    /// Any number that nobody else in the database locks.
    private static let lock = 7_216_053_294_118

    public init(directory: String) throws {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory)
        } catch {
            throw MigrationError.noDirectory(directory)
        }
        files = try names.filter { $0.hasSuffix(".sql") }.sorted().map { name in
            guard name.wholeMatch(of: /[0-9]{14}_[a-z0-9_]+\.sql/) != nil else { throw MigrationError.badName(name) }
            return File(name: String(name.dropLast(4)), sql: try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8))
        }
        guard !files.isEmpty else { throw MigrationError.noDirectory(directory) }
    }

    /// Applies what is missing and returns its names. Several processes may call it at once: one works, the others wait.
    ///
    /// - Throws: `MigrationError` when an applied file was edited or is missing, or comes before one that is applied; nothing is changed then.
    public func apply(on connection: Connection) throws -> [String] {
        try connection.query("SELECT pg_advisory_lock(\(Self.lock))")
        // The lock ends with the session as well, so a failure to unlock cannot leave it behind.
        defer { _ = try? connection.query("SELECT pg_advisory_unlock(\(Self.lock))") }
        try connection.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                name        text PRIMARY KEY,
                checksum    text NOT NULL,
                applied_at  timestamptz NOT NULL DEFAULT now()
            )
            """)
        let missing = try missing(on: connection)
        for file in missing {
            try connection.transaction {
                try connection.execute(file.sql)
                try connection.query(
                    """
                    INSERT INTO schema_migrations (name, checksum)
                    VALUES (\(file.name), encode(sha256(convert_to(\(file.sql), 'UTF8')), 'hex'))
                    """)
            }
        }
        return missing.map(\.name)
    }

    private func missing(on connection: Connection) throws -> [File] {
        let applied = try connection.query("SELECT name, checksum FROM schema_migrations ORDER BY name")
        var rest = files[...]
        for row in applied {
            let name: String = try row.get("name")
            guard let file = rest.popFirst() else { throw MigrationError.unknown(name) }
            guard file.name == name else {
                throw file.name < name ? MigrationError.outOfOrder(file.name, after: name) : MigrationError.unknown(name)
            }
            let checksum: String = try connection.query("SELECT encode(sha256(convert_to(\(file.sql), 'UTF8')), 'hex') AS checksum")[0].get(
                "checksum")
            guard try checksum == row.get("checksum") else { throw MigrationError.edited(name) }
        }
        return Array(rest)
    }
}

public enum MigrationError: Error, Sendable, Equatable, CustomStringConvertible {
    case noDirectory(String)
    case badName(String)
    case edited(String)
    case unknown(String)
    case outOfOrder(String, after: String)

    public var description: String {
        switch self {
        case .noDirectory(let path): "There are no migrations in \(path)."
        case .badName(let name): "\(name) is not named <14 digits>_<words>.sql."
        case .edited(let name): "The migration \(name) was edited after it had been applied. Migrations only go forward: add a new one."
        case .unknown(let name):
            "The database has the migration \(name), which is not among the files: this program is older than the database."
        case .outOfOrder(let name, let after):
            "The migration \(name) comes before \(after), which is already applied: give it a later timestamp."
        }
    }
}

extension PostgresError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .poolExhausted: "No database connection became free in time."
        case .cannotConnect(let reason): "Cannot connect to the database: \(reason)"
        case .connectionLost(let reason): "The connection to the database was lost: \(reason)"
        case .server(let message): "The database refused (\(message.sqlState)): \(message.message)"
        case .column(let name, let problem): "The column \(name) \(problem)."
        case .invalidParameter(let problem): problem
        }
    }
}
