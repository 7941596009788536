import Dispatch
import Foundation
import Logging
import Postgres
import Tenancy
import Threads

/// Makes the rows of requests durable, many requests in one transaction.
///
/// One thread takes what has gathered, commits it, wakes the waiters and starts over. While Postgres is away commits go to a journal on the disk
/// instead, and a second thread writes them into Postgres when it is back, each once: a commit whose outcome is unknown is written again, and
/// its statements make twice equal once.
public final class Committer: Sendable {
    public struct Options: Sendable {
        public var batchSize = 500
        /// How long commits may gather under load, in seconds: a transaction costs the database as much as some twenty of its rows do.
        public var gatherSeconds = 0.010
        /// With more commits waiting than this no new work is admitted; what runs still gets through.
        public var queueLimit = 10_000
        /// How often the database is asked whether it is there, in seconds.
        public var probeInterval = 0.5
        public var probeIntervalWhileAway = 0.2
        /// How often the journals of dead processes are looked for, in seconds.
        public var leftoverInterval = 10.0
        /// The number of this process among those that write; statements share work out by it.
        public var processNumber = 0

        public init() {}
    }

    /// Counts since the start, and the state now.
    public struct Metrics: Sendable, Equatable {
        public var committed = 0
        public var journaled = 0
        public var replayed = 0
        /// Commits that were refused for their own sake, or were not made durable at all.
        public var failed = 0
        public var transactions = 0
        public var queueDepth = 0
        public var isAway = false
    }

    private struct State {
        var queue: [Pending] = []
        var metrics = Metrics()
        var isStopping = false
        var isCommitterDone = false
        var isProberDone = false
    }

    private let database: SystemDatabase
    private let journal: Journal
    private let statements: [String: CommitStatement]
    private let options: Options
    private let logger: Logger
    private let state = Monitor(State())
    private let committerDone = DispatchSemaphore(value: 0)

    /// Starts the two threads. Postgres may be away; journals of dead processes are replayed at once when it is not.
    /// - Parameters:
    ///   - database: only its settings are used; the committer makes its own connections, so that it never waits for the pool.
    ///   - journalDirectory: made where it is missing.
    ///   - process: a name for this process' journals, such as `gateway-0`.
    ///   - statements: every statement that commits may name, now and in journals of earlier runs.
    public init(
        database: SystemDatabase, journalDirectory: String, process: String, statements: [CommitStatement], options: Options = Options(),
        logger: Logger
    ) throws {
        self.database = database
        self.options = options
        self.logger = logger
        self.statements = Dictionary(statements.map { ($0.name, $0) }) { first, _ in first }
        journal = try Journal(directory: journalDirectory, process: process)
        var writer = BatchWriter(database: database, process: options.processNumber)
        let isAway = !writer.probe()
        state.withLock { $0.metrics.isAway = isAway }
        startThread("committer") { self.commitUntilStopped() }
        startThread("committer-probe") { self.probeUntilStopped() }
    }

    /// Returns when the rows are durable: in Postgres, or in the journal while Postgres is away.
    public func commit(_ commit: Commit) throws {
        try check(commit)
        let pending = Pending(commit)
        try state.change { state in
            guard !state.isStopping else { throw CommitError.stopped }
            state.queue.append(pending)
        }
        try pending.wait()
    }

    /// Whether new work may be admitted: Postgres is there and the queue is not full.
    public var isAccepting: Bool {
        state.withLock { !$0.isStopping && !$0.metrics.isAway && $0.queue.count < options.queueLimit }
    }

    public var metrics: Metrics {
        state.withLock { state in
            var metrics = state.metrics
            metrics.queueDepth = state.queue.count
            return metrics
        }
    }

    /// Takes no more commits, settles those that wait, and returns when both threads are done.
    public func shutdown() {
        state.change { $0.isStopping = true }
        state.wait(while: { !($0.isCommitterDone && $0.isProberDone) }, then: { _ in })
    }

    private func check(_ commit: Commit) throws {
        for row in commit.rows {
            guard statements[row.statement.name] == row.statement else {
                throw CommitError.malformed("The statement \(row.statement.name) is not registered.")
            }
            guard row.statement.form != .json || !row.bytes.contains(UInt8(ascii: "\n")) else {
                throw CommitError.malformed("A row holds a line break.")
            }
        }
    }

    // MARK: the committing thread

    private func commitUntilStopped() {
        var writer = BatchWriter(database: database, process: options.processNumber)
        var pause = GatheringPause(longest: options.gatherSeconds, enough: 32)
        while let batch = nextBatch(&pause) { settle(batch, with: &writer) }
        state.change { $0.isCommitterDone = true }
        committerDone.signal()
    }

    /// What has gathered; nil when there is nothing and nothing will come.
    private func nextBatch(_ pause: inout GatheringPause) -> [Pending]? {
        let waiting = state.wait(while: { $0.queue.isEmpty && !$0.isStopping }) { $0.isStopping ? nil : $0.queue.count }
        if let waiting {
            let seconds = pause.length(waiting: waiting, now: .now)
            // Not on the monitor, which each commit would wake.
            if seconds > 0 { usleep(useconds_t(seconds * 1_000_000)) }
        }
        pause.taken(at: .now)
        return state.withLock { state in
            guard !state.queue.isEmpty else { return nil }
            let batch = Array(state.queue.prefix(options.batchSize))
            state.queue.removeFirst(batch.count)
            return batch
        }
    }

    private func settle(_ batch: [Pending], with writer: inout BatchWriter) {
        if state.withLock({ !$0.metrics.isAway }) {
            do {
                let refused = try writer.write(batch.map(\.commit)[...], isReplay: false)
                state.withLock { state in
                    state.metrics.transactions += 1
                    state.metrics.committed += batch.count - refused.count
                    state.metrics.failed += refused.count
                }
                for (index, pending) in batch.enumerated() { pending.finish(refused[index].map(CommitError.refused)) }
                return
            } catch {
                markAway(error)
            }
        }
        appendToJournal(batch)
    }

    private func appendToJournal(_ batch: [Pending]) {
        do {
            try journal.append(batch.map(\.commit))
            state.withLock { $0.metrics.journaled += batch.count }
            for pending in batch { pending.finish(nil) }
        } catch {
            logger.critical("the journal cannot be written", metadata: ["error": "\(error)", "commits": "\(batch.count)"])
            state.withLock { $0.metrics.failed += batch.count }
            for pending in batch { pending.finish(.notDurable("\(error)")) }
        }
    }

    private func markAway(_ reason: any Error) {
        let wasThere = state.change { state in
            defer { state.metrics.isAway = true }
            return !state.metrics.isAway
        }
        if wasThere { logger.error("Postgres is away: commits go to the journal", metadata: ["error": "\(reason)"]) }
    }

    // MARK: the probing and replaying thread

    private func probeUntilStopped() {
        var writer = BatchWriter(database: database, process: options.processNumber)
        var replay = Replay(journal: journal, statements: statements, logger: logger)
        var nextLeftovers = ContinuousClock.now
        while !isDone() {
            if writer.probe() {
                if ContinuousClock.now >= nextLeftovers {
                    replay.adoptLeftovers()
                    nextLeftovers = .now + .seconds(options.leftoverInterval)
                }
                markPresent()
                replayAll(&replay, with: &writer)
            } else {
                markAway(PostgresError.cannotConnect("the probe failed"))
            }
            pause()
        }
        if !journal.isEmpty && writer.probe() { replayAll(&replay, with: &writer) }
        journal.release()
        state.change { $0.isProberDone = true }
    }

    /// The committing thread drains the queue first, so that what it journals is still replayed.
    private func isDone() -> Bool { state.withLock { $0.isStopping && $0.isCommitterDone } }

    private func pause() {
        let interval = state.withLock { $0.metrics.isAway } ? options.probeIntervalWhileAway : options.probeInterval
        // Not on the monitor, whose every change would wake this thread.
        _ = committerDone.wait(timeout: .now() + interval)
    }

    private func markPresent() {
        let wasAway = state.change { state in
            defer { state.metrics.isAway = false }
            return state.metrics.isAway
        }
        if wasAway { logger.notice("Postgres is there") }
    }

    private func replayAll(_ replay: inout Replay, with writer: inout BatchWriter) {
        do {
            let outcome = try replay.run(with: &writer)
            state.withLock { state in
                state.metrics.replayed += outcome.replayed
                state.metrics.failed += outcome.refused
            }
            if outcome.replayed > 0 { logger.notice("journals replayed", metadata: ["commits": "\(outcome.replayed)"]) }
        } catch {
            markAway(error)
        }
    }
}

/// A commit and the thread that waits for it.
///
/// `@unchecked Sendable`: `failure` is written by the committing thread before it signals, and read by the waiter after.
private final class Pending: @unchecked Sendable {
    let commit: Commit
    private let done = DispatchSemaphore(value: 0)
    private var failure: CommitError?

    init(_ commit: Commit) { self.commit = commit }

    func finish(_ failure: CommitError?) {
        self.failure = failure
        done.signal()
    }

    func wait() throws {
        done.wait()
        if let failure { throw failure }
    }
}
