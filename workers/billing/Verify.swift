import ArgumentParser
import Billing

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Checks the invariants of the ledger: prints `ok`, or each violation, and then exits with 1.",
        discussion: "A project with a violation takes no more manual postings until its `ledger_frozen` is reset.")

    func run() throws {
        try withDatabase { database in
            let found = try Ledger(database: database).verify()
            for violation in found.violations {
                print("violation of invariant \(violation.invariant), \(violation.project ?? "platform"): \(violation.text)")
            }
            print(
                "\(found.transactions) transactions, \(found.entries) entries, \(found.holds) holds of which \(found.openHolds) are open")
            guard found.violations.isEmpty else { throw ExitCode.failure }
            print("ok")
        }
    }
}
