import Postgres
import Tenancy

/// How rows of one kind are written. `sql` takes `$1`, a JSON array of row objects, and must make twice equal once, such as
/// `INSERT … SELECT … FROM json_populate_recordset(NULL::usage_events, $1::json) ON CONFLICT DO NOTHING`.
public struct CommitStatement: Sendable, Hashable {
    /// Of `[a-z_]`; names the statement in journals, so it outlives the process.
    public let name: String
    public let sql: String

    public init(name: String, sql: String) {
        self.name = name
        self.sql = sql
    }
}

/// One row: its statement and a JSON object, without line breaks.
public struct CommitRow: Sendable {
    public let statement: CommitStatement
    public let json: [UInt8]

    public init(statement: CommitStatement, json: [UInt8]) {
        self.statement = statement
        self.json = json
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
    func write(_ commits: some Collection<Commit>) throws {
        // A handful of statements at most: looking through them is quicker than hashing their text.
        var statements: [CommitStatement] = []
        var arrays: [[UInt8]] = []
        for commit in commits {
            for row in commit.rows {
                let known = statements.firstIndex { $0.name == row.statement.name }
                let index = known ?? statements.count
                if known == nil {
                    statements.append(row.statement)
                    arrays.append([])
                }
                arrays[index].append(UInt8(ascii: known == nil ? "[" : ","))
                arrays[index].append(contentsOf: row.json)
            }
        }
        let writes = zip(statements, arrays).map { SQL($0.sql, values: [.utf8($1 + [UInt8(ascii: "]")])]) }
        // A single statement is a transaction by itself and saves two round trips.
        if writes.count == 1 {
            try query(writes[0])
        } else if !writes.isEmpty {
            try transaction { for write in writes { try query(write) } }
        }
    }
}
