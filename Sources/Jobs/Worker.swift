import Dispatch
import Foundation
import Glibc
import Logging
import OpenAI
import Postgres
import Tenancy
import Threads

/// Does the jobs of one queue with a fixed number of threads.
///
/// One thread claims jobs and hands them out, one hears the rings, one renews leases. The claiming thread looks by itself, too, and
/// more often while Redis is away.
public final class Worker: Sendable {
    /// How many jobs at a time lanes have that may hold up others, such as those that lead to servers of customers. A row of `job_lanes` gives a lane a
    /// number of its own.
    public struct LaneLimits: Sendable {
        /// The most of one lane without such a row, in all workers together.
        public var most: Int
        /// The most that lanes with no more than `most` have together in this worker: the other threads are for those that have been given more.
        public var together: Int

        public init(most: Int, together: Int) {
            self.most = most
            self.together = together
        }
    }

    public struct Options: Sendable {
        /// The most jobs at a time.
        public var threads = 8
        /// nil = a lane has any number of jobs at a time.
        public var lanes: LaneLimits?
        public var backoff = JobBackoff()
        /// How long a job is the worker's when the worker does not say so again, in seconds.
        public var leaseSeconds = 60.0
        /// How long `stop` lets jobs run before it gives them back, in seconds.
        public var drainSeconds = 25.0
        /// How often the table is looked at while Redis is away, in seconds.
        public var pollSeconds = 1.0
        /// How often it is looked at else. Not all who write jobs ring: what a settlement writes is a function's of Postgres.
        public var lookSeconds = 2.0
        public var stackSize = 512 << 10
        public init() {}
    }

    private struct State {
        var free: Int
        /// There may be jobs to claim.
        var isRung = true
        var isBellAway = true
        var isStopping = false
        var running: [String: JobRun] = [:]
    }

    private let queue: JobQueue
    private let database: SystemDatabase
    private let redisSocket: String
    private let handlers: [String: JobHandler]
    private let options: Options
    private let metrics: (any JobMetrics)?
    private let logger: Logger
    /// Names this process among the workers.
    private let name: String
    private let state: Monitor<State>
    private let handedOut = Lock<[JobRun]>([])
    private let work = DispatchSemaphore(value: 0)

    public init(
        _ queue: JobQueue, database: SystemDatabase, redisSocket: String, handlers: [JobHandler], options: Options = Options(),
        metrics: (any JobMetrics)? = nil, logger: Logger
    ) {
        self.queue = queue
        self.database = database
        self.redisSocket = redisSocket
        self.handlers = Dictionary(handlers.map { ($0.kind, $0) }) { first, _ in first }
        self.options = options
        self.metrics = metrics
        self.logger = logger
        name = "\(queue.name)-\(getpid())-\(String(UInt32.random(in: 0...UInt32.max), radix: 36))"
        state = Monitor(State(free: options.threads))
    }

    /// Works until `stop`, and returns when no job of this worker runs any more, or those that would not end were given back.
    public func run() {
        for _ in 0..<options.threads { startThread("job", stackSize: options.stackSize) { self.runJobs() } }
        startThread("job-bell") { self.listen() }
        startThread("job-leases") { self.renewLeases() }
        var lane = ""
        var pause: Double?
        while let free = waitForWork(atMost: pause) {
            do {
                pause = try claim(upTo: free, after: &lane)
            } catch {
                logger.error("no jobs could be claimed", metadata: ["queue": "\(queue)", "error": "\(error)"])
                pause = 0.5
            }
        }
        drain()
    }

    public func stop() { state.change { $0.isStopping = true } }

    // MARK: the claiming thread

    /// The threads that are free, once there may be something for them; nil = it is time to stop.
    private func waitForWork(atMost pause: Double?) -> Int? {
        let isAway = state.withLock { $0.isBellAway }
        var limit: Double? = min(isAway ? options.pollSeconds : options.lookSeconds, pause ?? .infinity)
        while true {
            let (free, isStopping) = state.wait(
                atMost: limit, while: { !$0.isStopping && !($0.isRung && $0.free > 0) },
                then: { state in
                    // When nobody is free, what is due waits for who gets free.
                    state.isRung = state.free == 0
                    return (state.free, state.isStopping)
                })
            if isStopping { return nil }
            if free > 0 { return free }
            limit = nil
        }
    }

    /// - Returns: seconds until a job's time comes, which nobody rings for; nil = none waits, or there is more to claim at once.
    private func claim(upTo free: Int, after lane: inout String) throws -> Double? {
        let after = lane
        let jobs = try database.withConnection { connection in
            try connection.claimJobs(
                of: queue, after: after, most: free, lanes: options.lanes, worker: name, lease: options.leaseSeconds)
        }
        if let last = jobs.last { lane = last.lane }
        let runs = jobs.map { JobRun($0, database) }
        state.withLock { state in
            state.free -= runs.count
            if jobs.count == free { state.isRung = true }
            for run in runs { state.running[run.job.id.description] = run }
        }
        handedOut.withLock { $0.append(contentsOf: runs) }
        for _ in runs { work.signal() }
        if jobs.count == free { return nil }
        return try database.withConnection { try $0.secondsToNextJob(of: queue) }.map { max(0.001, $0) }
    }

    /// Waits for what runs, and gives back what does not end.
    private func drain() {
        // What no thread has begun goes back at once.
        let unbegun = handedOut.withLock { runs in
            defer { runs = [] }
            return runs
        }
        giveBack(unbegun)
        state.change { state in for run in unbegun { state.running[run.job.id.description] = nil } }
        for run in state.withLock({ Array($0.running.values) }) { run.shallStop() }
        let left = state.wait(
            atMost: options.drainSeconds, while: { !$0.running.isEmpty }, then: { Array($0.running.values) })
        giveBack(left)
        state.change { $0.running = [:] }
        // Threads without a job end, and with them the last who hold the pool.
        for _ in 0..<options.threads { work.signal() }
    }

    private func giveBack(_ runs: [JobRun]) {
        guard !runs.isEmpty else { return }
        do {
            try database.withConnection { try $0.handBack(runs.map(\.job)) }
            logger.notice("jobs are given back", metadata: ["queue": "\(queue)", "jobs": "\(runs.count)"])
        } catch {
            logger.error("jobs wait for their leases to end", metadata: ["jobs": "\(runs.count)", "error": "\(error)"])
        }
    }

    // MARK: the threads of the jobs

    private func runJobs() {
        while true {
            work.wait()
            guard let run = handedOut.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else {
                if state.withLock({ $0.isStopping }) { return }
                continue
            }
            perform(run)
            state.change { state in
                state.running[run.job.id.description] = nil
                state.free += 1
                // A place in its lane is free, too.
                if options.lanes != nil || run.isPutOff { state.isRung = true }
            }
        }
    }

    private func perform(_ run: JobRun) {
        let job = run.job
        let labels = #"queue="\#(queue)",kind="\#(job.kind)""#
        metrics?.observe("job_wait_seconds", labels, seconds: job.waited)
        let start = ContinuousClock.now
        var outcome = "done"
        do {
            guard let handler = handlers[job.kind] else { throw JobFailure.retry("This worker knows no jobs of the kind '\(job.kind)'.") }
            try handler.run(run)
            if !run.isComplete { try run.complete() }
        } catch is JobLost {
            outcome = "lost"
        } catch {
            outcome = run.isComplete ? "done" : fail(job, error)
        }
        metrics?.observe("job_seconds", labels, seconds: (ContinuousClock.now - start) / .seconds(1))
        metrics?.count("jobs_total", #"\#(labels),outcome="\#(outcome)""#, by: 1)
    }

    /// - Returns: the outcome's name.
    private func fail(_ job: Job, _ error: any Error) -> String {
        var delay: Double? = options.backoff.seconds(after: job.attempt, chance: .random(in: 0...1))
        var reason = "The handler failed (\(type(of: error))); the worker's log says more."
        switch error as? JobFailure {
        case .retry(let seconds, let text): (delay, reason) = (seconds ?? delay, text)
        case .dead(let text): (delay, reason) = (nil, text)
        case nil: break
        }
        if job.attempt >= job.maxAttempts { delay = nil }
        logger.log(
            level: delay == nil ? .error : .warning, delay == nil ? "a job is dead" : "a job failed",
            metadata: ["job": "\(job.id)", "kind": "\(job.kind)", "attempt": "\(job.attempt)", "error": "\(error)"])
        do {
            try database.withConnection { try $0.fail(job, retryAfter: delay, reason) }
            // The next attempt may come before the next ring.
            state.change { $0.isRung = true }
        } catch {
            logger.error("a failed job waits for its lease to end", metadata: ["job": "\(job.id)", "error": "\(error)"])
        }
        return delay == nil ? "dead" : "retry"
    }

    // MARK: rings and leases

    private func listen() {
        var listener = JobListener(socket: redisSocket, queue: queue, consumer: name)
        while !state.withLock({ $0.isStopping }) {
            // A ring that nobody is free for is better heard by another process.
            let free = state.wait(while: { !$0.isStopping && $0.free == 0 }, then: { $0.free })
            do {
                let isRung = try listener.wait(hearing: max(1, free))
                state.withLock { $0.isBellAway = false }
                if isRung { state.change { $0.isRung = true } }
            } catch {
                let wasThere = state.change { state in
                    defer { state.isBellAway = true }
                    return !state.isBellAway
                }
                if wasThere {
                    logger.warning("no rings are heard: the table is looked at instead", metadata: ["error": "\(error)"])
                    state.change { $0.isRung = true }
                }
                usleep(250_000)
            }
        }
    }

    private func renewLeases() {
        while true {
            let (runs, isOver) = state.wait(
                atMost: options.leaseSeconds / 3, while: { !($0.isStopping && $0.running.isEmpty) },
                then: { (Array($0.running.values), $0.isStopping && $0.running.isEmpty) })
            if isOver { return }
            guard !runs.isEmpty else { continue }
            do {
                let kept = try database.withConnection { try $0.renew(runs.map(\.job), lease: options.leaseSeconds) }
                for run in runs where !kept.contains(run.job.id.description) { run.shallStop() }
            } catch {
                logger.warning("leases of jobs were not renewed", metadata: ["error": "\(error)"])
            }
        }
    }
}

/// Does the jobs of one kind. It may be called twice for a job, but only one call's `complete` is committed.
public struct JobHandler: Sendable {
    public var kind: String
    public var run: @Sendable (JobRun) throws -> Void

    public init(_ kind: String, _ run: @escaping @Sendable (JobRun) throws -> Void) {
        self.kind = kind
        self.run = run
    }
}

/// What counts what workers do; `Metrics` of `Server` does.
public protocol JobMetrics: Sendable {
    func count(_ name: String, _ labels: String, by amount: Int)
    func observe(_ name: String, _ labels: String, seconds: Double)
}
