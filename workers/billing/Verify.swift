import ArgumentParser
import Billing

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Checks the invariants of the ledger, and usage against it: prints `ok`, or what is wrong, and then exits with 1.",
        discussion: """
            A project with a violation takes no more manual postings until its `ledger_frozen` is reset. Usage is compared by project and day: \
            what requests cost, what the rollups say, and what the ledger took. That is for all closed days whose rows are kept, or for --day.
            """)

    @Option(help: "Compare the usage of this day (UTC) alone; today's too, as far as it is rolled up.") var day: UTCDay?

    func run() throws {
        try withDatabase { database in
            let found = try Ledger(database: database).verify()
            for violation in found.violations {
                print("violation of invariant \(violation.invariant), \(violation.project ?? "platform"): \(violation.text)")
            }
            let today = UTCDay.today
            let usage = try UsageRollups(database: database).reconcile(
                from: day ?? UsageRollups.oldestDay(today: today), through: day ?? today.days(before: 1), today: today)
            for mismatch in usage.mismatches { print("usage does not add up: \(mismatch)") }
            if usage.compared > 0 { print("\(usage.compared) days of projects compared, usage with rollups and ledger") }
            print(
                "\(found.transactions) transactions, \(found.entries) entries, \(found.holds) holds of which \(found.openHolds) are open")
            guard found.violations.isEmpty, usage.mismatches.isEmpty else { throw ExitCode.failure }
            print("ok")
        }
    }
}
