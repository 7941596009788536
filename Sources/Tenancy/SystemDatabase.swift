import Postgres

/// The database as the platform itself sees it: the rows of all projects.
///
/// Only for authentication, the committer, workers and the operator's tool; a test holds its uses against a list of files.
public struct SystemDatabase: Sendable {
    private let pool: Database

    /// - Parameter url: logs in as the tables' owner, who may act as `xerotier_system`.
    public init(url: String, size: Int, waitMilliseconds: Int = 2_000, options: ConnectionOptions = ConnectionOptions()) {
        var options = options
        options.role = DatabaseRole.system
        pool = Database(url: url, size: size, waitMilliseconds: waitMilliseconds, options: options)
    }

    /// Lends a connection to `body`, which must not keep it, and must not wait for anything but the database.
    public func withConnection<Value>(_ body: (SystemConnection) throws -> Value) throws -> Value {
        try pool.withConnection { try body(SystemConnection($0)) }
    }

    /// Lends a connection inside a transaction: committed when `body` returns, rolled back when it throws.
    public func transaction<Value>(_ body: (SystemConnection) throws -> Value) throws -> Value {
        try pool.transaction { try body(SystemConnection($0)) }
    }

    /// A connection outside of the pool, owned by the caller.
    public func connect() throws -> SystemConnection { SystemConnection(try pool.connect()) }
}

/// A connection that no policy binds.
public struct SystemConnection {
    private let connection: Connection

    init(_ connection: Connection) { self.connection = connection }

    @discardableResult
    public func query(_ sql: SQL) throws -> [Row] { try connection.query(sql) }

    /// Runs several statements in one round trip and one transaction.
    public func query(together statements: [SQL]) throws { try connection.query(together: statements) }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
    public func transaction<Value>(_ body: () throws -> Value) throws -> Value { try connection.transaction(body) }
}
