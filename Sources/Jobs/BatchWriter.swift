import Postgres
import Tenancy

/// Writes batches over one connection of its own, which it makes again when it breaks.
///
/// It belongs to one thread.
struct BatchWriter {
    private let database: SystemDatabase
    private let process: Int
    private var connection: SystemConnection?

    private static let attempts = 3

    /// - Parameter process: the number of this process among those that write.
    init(database: SystemDatabase, process: Int) {
        self.database = database
        self.process = process
    }

    /// Writes all commits and returns the ones that the database refused for their own sake, by index.
    ///
    /// A refusal halves the batch until the bad commit is alone, so one bad row costs a few round trips and fails nobody else.
    /// - Parameter isReplay: whether some of it may have been written before, as with a journal.
    /// - Throws: `PostgresError` when the database is away; then any part may have been written, and all must be written again.
    mutating func write(_ commits: ArraySlice<Commit>, isReplay: Bool) throws -> [Int: PostgresError] {
        do {
            try writeAll(commits, isReplay: isReplay)
            return [:]
        } catch let error as PostgresError where !error.isUnavailable && !error.isTransient {
            guard commits.count > 1 else { return [commits.startIndex: error] }
            let middle = commits.startIndex + commits.count / 2
            var refused = try write(commits[..<middle], isReplay: isReplay)
            refused.merge(try write(commits[middle...], isReplay: isReplay)) { first, _ in first }
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

    /// One transaction. When the connection was lost its outcome is unknown, and writing again is right: a replay makes twice equal once. So it is
    /// with rows that are there already, which only a replay takes for what they are.
    private mutating func writeAll(_ commits: ArraySlice<Commit>, isReplay: Bool) throws {
        let process = process
        var isReplay = isReplay
        for attempt in 1...Self.attempts {
            do {
                return try use { try $0.write(commits, process: process, isReplay: isReplay) }
            } catch let error as PostgresError where attempt < Self.attempts && error.mayPassWhenRepeated {
                isReplay = isReplay || error.isOutcomeUnknown || error.isUniqueViolation
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

extension PostgresError {
    fileprivate var isUniqueViolation: Bool { sqlState == "23505" }
    fileprivate var mayPassWhenRepeated: Bool { isOutcomeUnknown || isTransient || isUniqueViolation }
}
