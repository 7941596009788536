import Accounts
import Agents
import ArgumentParser
import Billing
import Configuration
import Foundation
import Jobs
import Logging
import Notifications
import ObjectStore
import Server
import Storage
import Tenancy
import Threads
import Worker

/// Ends what nobody has renewed, and keeps queues moving: rings again for jobs, takes back those of dead workers, gives back what expired holds and
/// leases have left, forgets what is old, and deletes stored bytes that nothing needs. It may run several times over.
@main
struct Sweeper: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Rings again for jobs, ends expired leases and holds, forgets what is old, and deletes stored bytes that nothing needs.",
        discussion:
            "Reads database.url, redis.socket, store.*, time.scale and sweep.seconds, as the gateway does. Ends on SIGTERM after the batch it is in."
    )

    @Flag(help: "Sweep once and end.")
    var once = false

    func run() throws {
        let process = try WorkerProcess("sweeper", connections: 1)
        let sweep = try Sweep(process)
        if once { return try sweep.run() }
        try process.repeating(every: process.configuration.sweepSeconds ?? process.scaled(30)) { try sweep.run() }
    }
}

/// One round. Each part is done although another one fails.
private struct Sweep {
    private let database: SystemDatabase
    private let ledger: Ledger
    private let jobs: JobSweep
    private let logger: Logger
    private let keysKept: Double
    private let deliveriesKept: Double
    private let decisionsKept: Double
    private let queues = Lock<[String: JobQueueReadout]>([:])
    private let metrics: Metrics
    /// nil = there is no object store.
    private let storage: StorageSweep?
    private let storageNights: Nights
    private let auditNights: Nights

    /// Holds in one transaction: their projects' accounts are locked for so long.
    private static let holdsInBatch = 100
    private static let keysInBatch = 1_000
    private static let deliveriesInBatch = 1_000
    private static let auditLinesInBatch = 1_000
    private static let decisionsInBatch = 5_000
    /// Between two looks through the whole object store, or at the age of the audit log, in seconds.
    private static let night = 86_400.0

    init(_ process: WorkerProcess) throws {
        database = process.database
        ledger = Ledger(database: process.database, timeScale: process.configuration.timeScale)
        deliveriesKept = process.scaled(30 * 86_400)
        decisionsKept = process.scaled(7 * 86_400)
        keysKept = process.scaled(Idempotency.Options().keptSeconds)
        logger = process.logger
        metrics = process.metrics
        let timeScale = process.configuration.timeScale
        storage = try Self.store(process.configuration.store).map {
            StorageSweep(database: process.database, store: $0, timeScale: timeScale, logger: process.logger)
        }
        storageNights = Nights(seconds: process.scaled(Self.night))
        auditNights = Nights(seconds: process.scaled(Self.night))
        var options = JobSweep.Options()
        options.doneKept = process.scaled(options.doneKept)
        options.deadKept = process.scaled(options.deadKept)
        jobs = JobSweep(database: process.database, bell: process.bell, options: options)
    }

    func run() throws {
        var failure: (any Error)?
        for part in [sweepJobs, readQueues, expireHolds, forgetKeys, forgetDeliveries, forgetDecisions, trimAudit, sweepStorage] {
            do { try part() } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }

    private func sweepJobs() throws {
        let done = try jobs.run()
        if done.reclaimed + done.buried > 0 {
            logger.warning("jobs of lost workers", metadata: ["ready again": "\(done.reclaimed)", "dead": "\(done.buried)"])
        }
        if done.rung + done.scheduled + done.forgotten > 0 {
            logger.info("jobs", metadata: ["rung": "\(done.rung)", "scheduled": "\(done.scheduled)", "forgotten": "\(done.forgotten)"])
        }
    }

    /// Shows how the queues stand with the metrics.
    private func readQueues() throws {
        let readouts = try database.withConnection { try $0.jobQueues() }
        let known = queues.withLock { queues in
            let known = Set(queues.keys)
            // A queue without jobs is at zero, not as it was last.
            queues = queues.mapValues { JobQueueReadout(queue: $0.queue) }
            for readout in readouts { queues[readout.queue] = readout }
            return known
        }
        for queue in readouts.map(\.queue) where !known.contains(queue) {
            let queues = queues
            func gauge(_ name: String, _ labels: String, _ value: @escaping @Sendable (JobQueueReadout) -> Double) {
                metrics.gauge(name, #"queue="\#(queue)"\#(labels)"#) { queues.withLock { $0[queue].map(value) ?? 0 } }
            }
            gauge("jobs", #",state="waiting""#) { Double($0.waiting) }
            gauge("jobs", #",state="ready""#) { Double($0.ready) }
            gauge("jobs", #",state="running""#) { Double($0.running) }
            gauge("jobs", #",state="dead""#) { Double($0.dead) }
            gauge("jobs_oldest_ready_seconds", "") { $0.oldestReadySeconds }
        }
    }

    private func expireHolds() throws {
        let ended = try inBatches(of: Self.holdsInBatch) { try ledger.expireHolds(most: $0) }
        if ended > 0 { logger.notice("expired holds went back", metadata: ["holds": "\(ended)"]) }
    }

    private func forgetKeys() throws {
        let forgotten = try inBatches(of: Self.keysInBatch) { most in
            try database.withConnection { try $0.forgetIdempotencyKeys(olderThan: keysKept, most: most) }
        }
        if forgotten > 0 { logger.notice("old idempotency keys are forgotten", metadata: ["keys": "\(forgotten)"]) }
    }

    private func forgetDeliveries() throws {
        let forgotten = try inBatches(of: Self.deliveriesInBatch) { most in
            try database.withConnection { try $0.forgetDeliveries(olderThan: deliveriesKept, most: most) }
        }
        if forgotten > 0 { logger.notice("old deliveries are forgotten", metadata: ["deliveries": "\(forgotten)"]) }
    }

    private func forgetDecisions() throws {
        let forgotten = try inBatches(of: Self.decisionsInBatch) { most in
            try database.withConnection { try $0.forgetRoutingDecisions(olderThan: decisionsKept, most: most) }
        }
        if forgotten > 0 { logger.notice("old choices of the router are forgotten", metadata: ["decisions": "\(forgotten)"]) }
    }

    private func trimAudit() throws {
        guard auditNights.isDue() else { return }
        let now = Int(Date().timeIntervalSince1970)
        let removed = try inBatches(of: Self.auditLinesInBatch) { most in
            try database.withConnection { try $0.trimAudit(now: now, most: most) }
        }
        if removed > 0 { logger.notice("old lines of the audit log are removed", metadata: ["lines": "\(removed)"]) }
        auditNights.done()
    }

    /// Last, because only this waits for something other than Postgres.
    private func sweepStorage() throws {
        guard let storage else { return }
        try storage.sweep()
        guard storageNights.isDue() else { return }
        try storage.reconcile()
        storageNights.done()
    }

    /// One attempt with little patience: the jobs wait for it, and the next round is another one.
    private static func store(_ configuration: Configuration.Store) throws -> (any ObjectStore)? {
        if configuration.url.isEmpty { return nil }
        var settings = StoreSettings(
            url: configuration.url, bucket: configuration.bucket, accessKey: configuration.accessKey, secretKey: configuration.secretKey,
            region: configuration.region)
        settings.timeout = .seconds(10)
        settings.attempts = 1
        return try (StoreSignature(rawValue: configuration.signature) ?? .v4).store(settings)
    }
}

/// When something that is done each night was last done. It belongs to the thread that sweeps.
private final class Nights {
    private let seconds: Double
    private var last: ContinuousClock.Instant?

    init(seconds: Double) { self.seconds = seconds }

    func isDue() -> Bool { last.map { ContinuousClock.now - $0 >= .seconds(seconds) } ?? true }
    func done() { last = .now }
}
