import Postgres
import Tenancy

/// How rows of one kind are written.
public struct CommitStatement: Sendable, Hashable {
    public enum Form: Sendable, Hashable {
        /// Rows are JSON objects without line breaks, `$1` is a JSON array of them. The statement must make twice equal once, as in
        /// `INSERT … SELECT … FROM json_populate_recordset(NULL::notes, $1::json) ON CONFLICT DO NOTHING`.
        case json
        /// Rows are `Postgres.Record`s, `$1` is an array of them in binary form; `$2` is the number of the writing process, and `$3` whether rows
        /// may be there already: only then must the statement make twice equal once, otherwise a row that is there may be a unique violation.
        case records
    }

    /// Of `[a-z_]`; names the statement in journals, so it outlives the process.
    public let name: String
    public let sql: String
    public let form: Form

    public init(name: String, sql: String, form: Form = .json) {
        self.name = name
        self.sql = sql
        self.form = form
    }
}

/// One row: its statement and its bytes in the form that the statement wants.
public struct CommitRow: Sendable {
    public let statement: CommitStatement
    public let bytes: [UInt8]

    public init(statement: CommitStatement, json: [UInt8]) {
        self.statement = statement
        bytes = json
    }

    public init(statement: CommitStatement, record: [UInt8]) {
        self.statement = statement
        bytes = record
    }
}

/// Rows that are written together: all or none.
public struct Commit: Sendable {
    public let rows: [CommitRow]
    public init(rows: [CommitRow]) { self.rows = rows }
}

/// Why a commit did not become durable.
public enum CommitError: Error, Sendable {
    /// The row itself is refused by the database; no other commit suffers.
    case refused(PostgresError)
    /// Neither Postgres nor the journal could take it.
    case notDurable(String)
    /// The committer has been shut down.
    case stopped
    /// The row names a statement that the committer was not made with, or its JSON has a line break.
    case malformed(String)
}

extension SystemConnection {
    /// Writes commits in one transaction; rows are grouped by statement, in the order in which the statements first appear.
    /// - Parameters:
    ///   - process: the number of this process among those that write.
    ///   - isReplay: whether some of it may have been written before.
    func write(_ commits: some Collection<Commit>, process: Int, isReplay: Bool) throws {
        // A handful of statements at most: looking through them is quicker than hashing their text.
        var statements: [CommitStatement] = []
        var rows: [[[UInt8]]] = []
        for commit in commits {
            for row in commit.rows {
                if let index = statements.firstIndex(where: { $0.name == row.statement.name }) {
                    rows[index].append(row.bytes)
                } else {
                    statements.append(row.statement)
                    rows.append([row.bytes])
                }
            }
        }
        let writes = zip(statements, rows).map { $0.bind($1, process: process, isReplay: isReplay) }
        if !writes.isEmpty { try query(together: writes) }
    }
}

extension CommitStatement {
    fileprivate func bind(_ rows: [[UInt8]], process: Int, isReplay: Bool) -> SQL {
        switch form {
        case .json:
            let array = [UInt8(ascii: "[")] + rows.joined(separator: [UInt8(ascii: ",")]) + [UInt8(ascii: "]")]
            return SQL(sql, values: [.utf8(array)])
        case .records: return SQL(sql, values: [.bytes(Record.array(rows)), process.sqlValue, isReplay.sqlValue])
        }
    }
}
