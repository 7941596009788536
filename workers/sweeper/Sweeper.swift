import ArgumentParser
import Billing
import Configuration
import Dispatch
import Foundation
import Logging
import Postgres
import Server
import Tenancy
import Threads

/// Ends what nobody has renewed: each minute it gives back what expired holds and leases have left, and forgets old idempotency keys. It may run
/// several times over.
@main
struct Sweeper: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Returns the credit of expired holds and leases, and forgets idempotency keys of the day before.",
        discussion: "Reads database.url, time.scale and sweep.seconds, as the gateway does. Ends on SIGTERM after the batch it is in.")

    @Flag(help: "Sweep once and end.")
    var once = false

    /// Holds in one transaction: their projects' accounts are locked for so long.
    private static let batch = 100
    private static let keysInBatch = 1_000

    func run() throws {
        let configuration = try Configuration.load()
        if configuration.databaseURL.isEmpty { throw ValidationError("database.url: missing (XEROTIER_DATABASE_URL)") }
        var options = ConnectionOptions()
        options.applicationName = "sweeper"
        let database = SystemDatabase(url: configuration.databaseURL, size: 1, options: options)
        let sweep = { (logger: Logger) in
            try Self.expireHolds(Ledger(database: database, timeScale: configuration.timeScale), logger)
            try Self.forgetKeys(database, olderThan: Idempotency.Options().keptSeconds * configuration.timeScale, logger)
        }
        var logger = Logger(label: "sweeper") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = Logger.Level(rawValue: configuration.logLevel) ?? .info
        if once { return try sweep(logger) }
        let pause = configuration.sweepSeconds ?? 60 * configuration.timeScale
        let stop = DispatchSemaphore(value: 0)
        // Before any other thread is started: all of them must leave these signals to the one that waits for them.
        let signals = Signals.block([SIGTERM, SIGINT])
        startThread("signals") {
            _ = signals.wait()
            stop.signal()
        }
        logger.notice("sweeping", metadata: ["seconds": "\(pause)"])
        repeat {
            // A database that is away comes back; the holds wait for it.
            do { try sweep(logger) } catch { logger.error("a sweep failed", metadata: ["error": "\(error)"]) }
        } while stop.wait(timeout: .now() + pause) == .timedOut
        logger.notice("ended")
    }

    private static func expireHolds(_ ledger: Ledger, _ logger: Logger) throws {
        var ended = 0
        while true {
            let count = try ledger.expireHolds(most: batch)
            ended += count
            if count < batch { break }
        }
        if ended > 0 { logger.notice("expired holds went back", metadata: ["holds": "\(ended)"]) }
    }

    private static func forgetKeys(_ database: SystemDatabase, olderThan seconds: Double, _ logger: Logger) throws {
        var forgotten = 0
        while true {
            let count = try database.withConnection { try $0.forgetIdempotencyKeys(olderThan: seconds, most: keysInBatch) }
            forgotten += count
            if count < keysInBatch { break }
        }
        if forgotten > 0 { logger.notice("old idempotency keys are forgotten", metadata: ["keys": "\(forgotten)"]) }
    }
}
