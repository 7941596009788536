import Billing
import Foundation
import OpenAI
import Testing

/// The programs `billing` and `sweeper`, as operators and supervisors run them.
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct LedgerProgramTests {
    @Test func verifySaysOkOrEachViolationAndEndsWithOne() async throws {
        try await onThread {
            let bench = try LedgerTests.Bench(cash: 1_000)
            let settings = ["XEROTIER_DATABASE_URL": bench.owner.url]
            let sound = try Program.billing.run(["verify"], settings)
            #expect(sound.status == 0 && sound.output == "1 transactions, 2 entries, 0 holds of which 0 are open\nok\n", "\(sound)")
            try bench.owner.connect().execute(
                "ALTER TABLE ledger_entries DISABLE TRIGGER USER; UPDATE ledger_entries SET amount_nano = 1001 WHERE amount_nano = 1000")
            let broken = try Program.billing.run(["verify"], settings)
            #expect(broken.status == 1 && !broken.output.contains("ok\n"))
            #expect(broken.output.contains("violation of invariant 1, \(bench.project)"))
            #expect(broken.output.contains("violation of invariant 2, \(bench.project)"))
            let refused = try Program.billing.run(["topup", "--project", "acme", "--usd", "1", "--reference", "a"], settings)
            #expect(refused.status != 0 && refused.errors.contains("frozen"))
        }
    }

    @Test func aTopUpIsBookedOnceForItsReference() async throws {
        try await onThread {
            let bench = try LedgerTests.Bench()
            let settings = ["XEROTIER_DATABASE_URL": bench.owner.url]
            let command = ["topup", "--project", "acme", "--usd", "0.000000001", "--reference", "inv 7/2026"]
            let first = try Program.billing.run(command, settings)
            let second = try Program.billing.run(command, settings)
            #expect(first.output.hasPrefix("posted: topup of 0.000000001 USD to acme, transaction le_"), "\(first)")
            #expect(second.status == 0 && second.output.hasPrefix("already posted: "))
            #expect(try bench.balances()["cash"] == 1)
        }
    }

    @Test func aGrantIsBookedOnceForItsKeyAndAuditedOnce() async throws {
        try await onThread {
            let bench = try LedgerTests.Bench()
            let settings = ["XEROTIER_DATABASE_URL": bench.owner.url]
            let command = ["grant", "--project", "acme", "--usd", "100", "--key", "grant:demo"]
            let runs = try (0..<2).map { _ in try Program.billing.run(command, settings) }
            #expect(runs.map(\.status) == [0, 0] && runs[1].output.hasPrefix("already posted: "), "\(runs)")
            #expect(try bench.balances()["promo"] == 100_000_000_000)
            let lines = try bench.owner.connect().query(
                "SELECT actor_id, target_id, after->>'amount' AS amount FROM audit_log WHERE action = 'ledger.grant'")
            #expect(try lines.map { try $0.get("amount", as: String.self) } == ["100"])
            #expect(try lines.map { try $0.get("actor_id", as: String.self) } == ["billing"])
        }
    }

    @Test(arguments: ["--usd=-1", "--usd=NaN", "--usd=1e9", "--usd=100000000.01", "--usd=0"])
    func amountsThatAreNoneAreRefused(usd: String) async throws {
        try await onThread {
            let run = try Program.billing.run(["topup", "--project", "acme", usd, "--reference", "a"], [:])
            #expect(run.status == 64 && run.errors.contains("--usd"), "\(run)")
        }
    }

    @Test func theSweeperGivesExpiredHoldsBackAndEndsOnSIGTERM() async throws {
        try await onThread {
            let bench = try LedgerTests.Bench(cash: 1_000)
            _ = try (0..<250).map { try bench.hold(2, key: "\($0)") }
            try bench.owner.connect().execute("UPDATE ledger_holds SET expires_at = now() - interval '1 second'")
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "\(PostgresServer.repository)/.build/release/sweeper")
            process.environment = ["XEROTIER_DATABASE_URL": bench.owner.url, "XEROTIER_SWEEP_SECONDS": "0.05"]
            process.standardError = FileHandle.nullDevice
            try process.run()
            #expect(try eventually(within: .seconds(30)) { try bench.balances() == ["cash": 1_000, "promo": 0, "held": 0] })
            let (late, _) = try bench.hold(100, key: "late")
            try bench.owner.connect().execute("UPDATE ledger_holds SET expires_at = now() WHERE id = '\(late)'")
            #expect(try eventually(within: .seconds(30)) { try bench.balances()["held"] == 0 })
            process.terminate()
            process.waitUntilExit()
            #expect(process.terminationReason == .exit && process.terminationStatus == 0)
        }
    }
}
