import ArgumentParser
import Billing
import Configuration
import Dispatch
import Foundation
import Logging
import Postgres
import Tenancy
import Threads

/// Ends what nobody has renewed: each minute it gives back what expired holds and leases have left. It may run several times over.
@main
struct Sweeper: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Returns the credit of expired holds and leases.",
        discussion: "Reads database.url, time.scale and sweep.seconds, as the gateway does. Ends on SIGTERM after the batch it is in.")

    @Flag(help: "Sweep once and end.")
    var once = false

    /// Holds in one transaction: their projects' accounts are locked for so long.
    private static let batch = 100

    func run() throws {
        let configuration = try Configuration.load()
        if configuration.databaseURL.isEmpty { throw ValidationError("database.url: missing (XEROTIER_DATABASE_URL)") }
        var options = ConnectionOptions()
        options.applicationName = "sweeper"
        let ledger = Ledger(
            database: SystemDatabase(url: configuration.databaseURL, size: 1, options: options), timeScale: configuration.timeScale)
        var logger = Logger(label: "sweeper") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = Logger.Level(rawValue: configuration.logLevel) ?? .info
        if once { return try sweep(ledger, logger) }
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
            do { try sweep(ledger, logger) } catch { logger.error("a sweep failed", metadata: ["error": "\(error)"]) }
        } while stop.wait(timeout: .now() + pause) == .timedOut
        logger.notice("ended")
    }

    private func sweep(_ ledger: Ledger, _ logger: Logger) throws {
        var ended = 0
        while true {
            let count = try ledger.expireHolds(most: Self.batch)
            ended += count
            if count < Self.batch { break }
        }
        if ended > 0 { logger.notice("expired holds went back", metadata: ["holds": "\(ended)"]) }
    }
}
