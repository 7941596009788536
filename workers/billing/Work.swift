import ArgumentParser
import Billing
import Configuration
import Dispatch
import Foundation
import Logging
import Tenancy
import Threads

/// The worker: does what is due, again and again. It may run several times over; who comes second leaves it to the first.
struct Work: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Keeps usage rolled up by day, sends alerts of budgets, and does the nightly work; runs until SIGTERM.",
        discussion: "Reads database.url, state.dir, time.scale, rollup.seconds and mail.*.")

    func run() throws {
        let configuration = try Configuration.load()
        var logger = Logger(label: "billing") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = Logger.Level(rawValue: configuration.logLevel) ?? .info
        // Before any other thread is started: all of them must leave these signals to the one that waits for them.
        let signals = Signals.block([SIGTERM, SIGINT])
        let stop = DispatchSemaphore(value: 0)
        startThread("signals") {
            _ = signals.wait()
            stop.signal()
        }
        try withDatabase { database in
            var chores = try chores(database, configuration, logger)
            logger.notice("working", metadata: ["chores": "\(chores.map(\.name).joined(separator: ", "))"])
            repeat {
                for index in chores.indices where chores[index].due <= .now {
                    // A database that is away comes back; the work waits for it.
                    do { try chores[index].run() } catch {
                        logger.error("failed", metadata: ["chore": "\(chores[index].name)", "error": "\(error)"])
                    }
                    chores[index].due = .now + chores[index].pause
                }
            } while stop.wait(timeout: .now() + Self.wait(for: chores)) == .timedOut
            logger.notice("ended")
        }
    }

    /// Something that is done every so often, each after the other.
    private struct Chore {
        var name: String
        var pause: Duration
        var due = ContinuousClock.now
        var run: () throws -> Void
    }

    /// Seconds until the next is due.
    private static func wait(for chores: [Chore]) -> Double {
        let next = chores.map(\.due).min() ?? .now
        return max(0, (next - .now) / .seconds(1))
    }

    private func chores(_ database: SystemDatabase, _ configuration: Configuration, _ logger: Logger) throws -> [Chore] {
        let budgets = try BudgetRound(database, configuration)
        let rollups = UsageRollups(database: database)
        let ledger = Ledger(database: database)
        let pause = Duration.seconds(configuration.rollupSeconds ?? 300 * configuration.timeScale)
        return [
            Chore(name: "rollups", pause: pause) {
                if let added = try rollups.add(), added.rollups > 0 {
                    logger.info("usage rolled up", metadata: ["rollups": "\(added.rollups)", "watermark": "\(added.watermark)"])
                }
            },
            Chore(name: "budgets", pause: .seconds(60 * configuration.timeScale)) {
                let done = try budgets.run()
                if done.fired + done.alertsMailed + done.mails.sent > 0 {
                    logger.notice(
                        "alerts of budgets",
                        metadata: ["fired": "\(done.fired)", "mailed": "\(done.alertsMailed)", "mails": "\(done.mails.sent)"])
                }
                if done.mails.deferred + done.mails.failed > 0 {
                    logger.warning(
                        "mails were not taken", metadata: ["deferred": "\(done.mails.deferred)", "failed": "\(done.mails.failed)"])
                }
            },
            Chore(name: "night", pause: pause) { try Self.night(UsageNight(rollups: rollups), ledger, logger) },
        ]
    }

    private static func night(_ night: UsageNight, _ ledger: Ledger, _ logger: Logger) throws {
        let now = Int(Date().timeIntervalSince1970)
        guard try night.isDue(now: now) else { return }
        let books = try ledger.verify()
        for violation in books.violations {
            logger.error(
                "an invariant of the ledger is violated",
                metadata: [
                    "invariant": "\(violation.invariant)", "project": "\(violation.project ?? "platform")", "what": "\(violation.text)",
                ])
        }
        guard let report = try night.run(now: now) else { return }
        for difference in report.differences { logger.warning("a rollup was wrong and is replaced", metadata: ["what": "\(difference)"]) }
        for mismatch in report.reconciliation.mismatches {
            logger.error("usage and ledger differ", metadata: ["what": "\(mismatch)"])
        }
        logger.notice(
            "the night's work is done",
            metadata: [
                "replaced": "\(report.differences.count)", "compared": "\(report.reconciliation.compared)",
                "mismatches": "\(report.reconciliation.mismatches.count)", "violations": "\(books.violations.count)",
                "dropped": "\(report.droppedPartitions.joined(separator: " "))",
                "deleted": "\(report.deletedRows)",
            ])
    }
}
