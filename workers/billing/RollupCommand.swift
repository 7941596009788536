import ArgumentParser
import Billing
import Foundation

struct RollupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollup", abstract: "Adds the usage rows that are not yet in the rollups; with --day, sums a day's rows anew.",
        discussion: "`billing work` does both by itself. They may run at any time, several times over.")

    @Option(help: "A day of UTC such as 2026-11-25, whose rows are all kept: not older than 90 days.") var day: UTCDay?

    @Flag(help: "Sum all days of the last 90 anew: for a database that was restored from a dump. Settlements wait meanwhile.")
    var restart = false

    func validate() throws {
        if restart && day != nil { throw ValidationError("--restart is for all days, --day for one.") }
    }

    func run() throws {
        try withDatabase { database in
            let rollups = UsageRollups(database: database)
            if restart {
                try show(rollups.restart(today: .today), of: "all days")
            } else if let day {
                try show(rollups.recompute(day, today: .today), of: day.description)
            } else {
                try add(rollups)
            }
        }
    }

    private func add(_ rollups: UsageRollups) throws {
        guard let added = try rollups.add() else { throw Self.busy }
        print("\(added.rollups) rollups made or changed; all usage rows before transaction \(added.watermark) are added")
    }

    private func show(_ differences: [UsageRollups.Difference]?, of what: String) throws {
        guard let differences else { throw Self.busy }
        for difference in differences { print("replaced: \(difference)") }
        print(differences.isEmpty ? "\(what): nothing changed" : "\(what): \(differences.count) rollups replaced")
    }

    private static let busy = Failure("Another worker is at the rollups; try again.")
}

extension UTCDay: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }

    static var today: UTCDay { UTCDay(second: Int(Date().timeIntervalSince1970)) }
}
