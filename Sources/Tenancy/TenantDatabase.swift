import OpenAI
import Postgres

/// The database as one project sees it: row-level security shows and takes only rows of the project that a connection is lent for.
public struct TenantDatabase: Sendable {
    private let pool: Database
    private let afterCommit: AfterCommit

    /// - Parameters:
    ///   - url: says where the database is. The login is `xerotier_tenant`, whatever user the URL names, so that no statement can step out of
    ///     the role.
    ///   - afterCommit: is given the notes of a connection when it comes back.
    public init(
        url: String, size: Int, waitMilliseconds: Int = 2_000, options: ConnectionOptions = ConnectionOptions(),
        afterCommit: @escaping AfterCommit = { _ in }
    ) {
        var options = options
        options.user = DatabaseRole.tenant
        pool = Database(url: url, size: size, waitMilliseconds: waitMilliseconds, options: options)
        self.afterCommit = afterCommit
    }

    /// Lends a connection to `body`, which must not keep it, and must not wait for anything but the database.
    public func withConnection<Value>(of project: ID<Project>, _ body: (TenantConnection) throws -> Value) throws -> Value {
        let notes = CommitNotes()
        let value = try pool.withConnection { try body(TenantConnection($0, project, notes)) }
        notes.tell(afterCommit)
        return value
    }

    /// Lends a connection inside a transaction: committed when `body` returns, rolled back when it throws.
    public func transaction<Value>(of project: ID<Project>, _ body: (TenantConnection) throws -> Value) throws -> Value {
        let notes = CommitNotes()
        let value = try pool.transaction { try body(TenantConnection($0, project, notes)) }
        notes.tell(afterCommit)
        return value
    }
}

/// A connection within one project. It can only be had with a project, so a tenant query without one does not compile.
public struct TenantConnection {
    public let project: ID<Project>
    private let connection: Connection
    private let setting: SessionSetting
    private let notes: CommitNotes

    init(_ connection: Connection, _ project: ID<Project>, _ notes: CommitNotes) {
        self.connection = connection
        self.project = project
        self.notes = notes
        setting = SessionSetting(name: "xerotier.project", value: project.description)
    }

    /// Notes what others are to be told once what is being written is committed, such as that there is a job; dropped when it is not.
    public func afterCommit(_ note: String) { notes.add(note) }

    /// Queries still name the project in their text: the policies are the wall behind, and indexes start with it.
    @discardableResult
    public func query(_ sql: SQL) throws -> [Row] { try connection.query(sql, under: setting) }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws. Inside of a transaction it is a part of that one.
    public func transaction<Value>(_ body: () throws -> Value) throws -> Value { try connection.transaction(body) }

    /// - Parameter last: what is to be the end of the transaction; it travels with the COMMIT, so it costs no round trip. It must come after a
    ///   query, which has put the project's policies in force.
    public func transaction<Value>(_ body: () throws -> Value, last: (Value) throws -> [SQL]) throws -> Value {
        try connection.transaction(body, last: last)
    }
}
