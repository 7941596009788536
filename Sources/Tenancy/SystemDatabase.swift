import Postgres

/// The database as the platform itself sees it: the rows of all projects.
///
/// Only for authentication, the committer, workers and the operator's tool; a test holds its uses against a list of files.
public struct SystemDatabase: Sendable {
    private let pool: Database
    private let afterCommit: AfterCommit

    /// - Parameters:
    ///   - url: logs in as the tables' owner, who may act as `xerotier_system`.
    ///   - afterCommit: is given the notes of a connection when it comes back.
    public init(
        url: String, size: Int, waitMilliseconds: Int = 2_000, options: ConnectionOptions = ConnectionOptions(),
        afterCommit: @escaping AfterCommit = { _ in }
    ) {
        var options = options
        options.role = DatabaseRole.system
        pool = Database(url: url, size: size, waitMilliseconds: waitMilliseconds, options: options)
        self.afterCommit = afterCommit
    }

    /// Lends a connection to `body`, which must not keep it, and must not wait for anything but the database.
    public func withConnection<Value>(_ body: (SystemConnection) throws -> Value) throws -> Value {
        let notes = CommitNotes()
        let value = try pool.withConnection { try body(SystemConnection($0, notes)) }
        notes.tell(afterCommit)
        return value
    }

    /// Lends a connection inside a transaction: committed when `body` returns, rolled back when it throws.
    public func transaction<Value>(_ body: (SystemConnection) throws -> Value) throws -> Value {
        let notes = CommitNotes()
        let value = try pool.transaction { try body(SystemConnection($0, notes)) }
        notes.tell(afterCommit)
        return value
    }

    /// A connection outside of the pool, owned by the caller. Its notes are told nobody.
    public func connect() throws -> SystemConnection { SystemConnection(try pool.connect(), CommitNotes()) }
}

/// A connection that no policy binds.
public struct SystemConnection {
    private let connection: Connection
    private let notes: CommitNotes

    init(_ connection: Connection, _ notes: CommitNotes) {
        self.connection = connection
        self.notes = notes
    }

    /// Notes what others are to be told once what is being written is committed; dropped when it is not.
    public func afterCommit(_ note: String) { notes.add(note) }

    @discardableResult
    public func query(_ sql: SQL) throws -> [Row] { try connection.query(sql) }

    /// Runs several statements in one round trip and one transaction.
    public func query(together statements: [SQL]) throws { try connection.query(together: statements) }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
    public func transaction<Value>(_ body: () throws -> Value) throws -> Value { try connection.transaction(body) }
}
