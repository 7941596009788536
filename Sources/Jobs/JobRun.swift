import Synchronization
import Tenancy

/// One attempt at a job. It belongs to the thread that runs it.
public final class JobRun: Sendable {
    public let job: Job
    private let database: SystemDatabase
    private let isStopping = Atomic(false)
    private let hasCompleted = Atomic(false)
    private let hasPutOff = Atomic(false)

    init(_ job: Job, _ database: SystemDatabase) {
        self.job = job
        self.database = database
    }

    /// Ends the job together with its effect, in one transaction: both are there or neither, and exactly once however often the job is tried. To be
    /// called once, last; a handler that returns without it has had no effect in Postgres.
    /// - Throws: `JobLost` when the job is somebody else's by now; `body` has not run then.
    @discardableResult
    public func complete<Value>(_ body: (SystemConnection) throws -> Value) throws -> Value {
        let value = try database.transaction { connection in
            try connection.finish(job)
            return try body(connection)
        }
        hasCompleted.store(true, ordering: .releasing)
        return value
    }

    public func complete() throws { try complete { _ in } }

    /// Puts the job off and keeps what this attempt has come to, in one transaction; like `complete` otherwise. The attempts are not limited then.
    public func again(after seconds: Double, _ reason: String, _ body: (SystemConnection) throws -> Void) throws {
        try database.transaction { connection in
            try connection.putOff(job, for: seconds, reason)
            try body(connection)
        }
        hasPutOff.store(true, ordering: .releasing)
        hasCompleted.store(true, ordering: .releasing)
    }

    /// Whether what is done now is for nothing, or the worker is to stop: long handlers look here and end early, by throwing.
    public var shouldStop: Bool { isStopping.load(ordering: .relaxed) }

    func shallStop() { isStopping.store(true, ordering: .relaxed) }
    /// Its next time may come before the next ring.
    var isPutOff: Bool { hasPutOff.load(ordering: .acquiring) }
    var isComplete: Bool { hasCompleted.load(ordering: .acquiring) }
}
