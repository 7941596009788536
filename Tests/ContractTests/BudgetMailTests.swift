import Accounts
import Billing
import Foundation
import Mail
import OpenAI
import Tenancy
import Testing

/// Alerts by mail: written once for each person, sent at least once, and never again after the server took them.
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct BudgetMailTests {
    private static let cent: Int64 = 10_000_000

    private struct Bench {
        let budgets: BudgetTests.Bench
        let server: FakeMailServer
        let people: [String: String]

        /// One member of each role.
        init() throws {
            budgets = try BudgetTests.Bench()
            server = try FakeMailServer()
            var people: [String: String] = [:]
            for role in [ProjectRole.owner, .admin, .member, .viewer] {
                let email = "\(role.rawValue).\(UInt32.random(in: 0...UInt32.max))@example.test"
                let user = try budgets.ledger.owner.system(size: 1).withConnection {
                    try $0.setUser(email: email, name: nil, systemRole: nil, by: tester).id
                }
                _ = try budgets.tenant.withConnection { try $0.setMember(user, role: role, by: tester) }
                people[role.rawValue] = email
            }
            self.people = people
        }

        func queue(_ mailer: (any Mailer)? = nil) -> MailQueue {
            MailQueue(
                database: budgets.ledger.owner.system(size: 2),
                mailer: mailer ?? SMTPMailer(url: server.url, user: "relay", password: "s3cret", needsTLS: false, timeoutSeconds: 5),
                from: "billing@example.test")
        }

        var work: BudgetWork { BudgetWork(database: budgets.ledger.owner.system(size: 2)) }

        /// Lets the mails that wait for their next try be due.
        func passTime() throws { try budgets.ledger.owner.connect().execute("UPDATE mails SET next_attempt_at = now()") }

        func received() -> [String] { server.state.withLock { $0.mails.flatMap(\.to) }.sorted() }
    }

    @Test func ownersAndAdminsGetOneMailForEachThreshold() async throws {
        try await onThread {
            let bench = try Bench()
            let budget = try bench.budgets.budget(1) { $0.name = "Küche \"Süd\" – Prognose für das ganze nächste Jahr, vorläufig" }
            _ = try bench.budgets.budget(1) { $0.channels = [] }
            try bench.budgets.settle(1, cost: Self.cent * 8 / 10)
            onThreads(4) { _ in
                do {
                    for _ in 0..<3 {
                        _ = try bench.work.check()
                        _ = try bench.work.writeMails()
                        _ = try bench.queue().sendDue()
                    }
                } catch { Issue.record(error) }
            }
            let owner = try #require(bench.people["owner"])
            let admin = try #require(bench.people["admin"])
            #expect(bench.received() == [admin, admin, owner, owner].map { "RCPT TO:<\($0)>" }.sorted())
            let mails = bench.server.state.withLock { $0.mails }
            let subjects = Set(mails.map(\.subject))
            #expect(subjects == Set([50, 75].map { "acme: \($0) % of the budget \"\(budget.settings.name)\" is spent" }))
            #expect(
                mails.allSatisfy {
                    $0.from.hasPrefix("MAIL FROM:<billing@example.test>") && $0.body.contains("0.008 of 0.01 USD are spent")
                })
            #expect(mails.allSatisfy { $0.body.contains(budget.id.description) && $0.data.utf8.allSatisfy { $0 < 128 } })
            #expect(Set(mails.compactMap { $0.header("Message-ID") }).count == 4)
            #expect(bench.server.state.withLock { Set($0.credentials) } == ["\0relay\0s3cret"])
            let rows = try bench.budgets.ledger.owner.connect().query("SELECT attempts, sent_at IS NOT NULL AS is_sent FROM mails")
            #expect(try rows.allSatisfy { try $0.get("attempts", as: Int.self) == 1 && $0.get("is_sent", as: Bool.self) })
        }
    }

    @Test func aServerThatIsAwayOrBusyIsTriedAgain() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.budgets.budget(1) { $0.thresholds = [50] }
            try bench.budgets.settle(1, cost: Self.cent)
            #expect(try bench.work.writeMails() == 1)
            let away = SMTPMailer(url: "smtp://127.0.0.1:1", user: "", password: "", needsTLS: false, timeoutSeconds: 5)
            var outcome = MailQueue.Outcome()
            outcome.deferred = 2
            #expect(try bench.queue(away).sendDue() == outcome)
            // Not before its time.
            #expect(try bench.queue().sendDue() == MailQueue.Outcome())
            try bench.passTime()
            bench.server.state.withLock { $0.refusals = ["451 later", "451 later"] }
            #expect(try bench.queue().sendDue() == outcome)
            try bench.passTime()
            #expect(try bench.queue().sendDue().sent == 2)
            #expect(bench.received().count == 2)
        }
    }

    @Test func anAddressThatTheServerRefusesIsGivenUp() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.budgets.budget(1) { $0.thresholds = [50] }
            try bench.budgets.settle(1, cost: Self.cent)
            _ = try bench.work.writeMails()
            let owner = try #require(bench.people["owner"])
            bench.server.state.withLock { $0.unknown = owner }
            let outcome = try bench.queue().sendDue()
            #expect(outcome.sent == 1 && outcome.failed == 1)
            try bench.passTime()
            #expect(try bench.queue().sendDue() == MailQueue.Outcome())
            let error: String = try bench.budgets.ledger.owner.connect().query("SELECT last_error FROM mails WHERE failed_at IS NOT NULL")[
                0
            ].get(
                "last_error")
            #expect(!error.contains(owner) && !error.contains("s3cret"))
        }
    }

    @Test func aServerWithoutTLSGetsNothingWhereTLSIsRequired() async throws {
        try await onThread {
            let bench = try Bench()
            let message = MailMessage(id: "mail_1", from: "a@example.test", to: "b@example.test", subject: "s", body: "b", date: 0)
            let mailer = SMTPMailer(url: bench.server.url, user: "relay", password: "s3cret", needsTLS: true, timeoutSeconds: 5)
            #expect(throws: MailError.self) { try mailer.send(message) }
            let state = bench.server.state.withLock { $0 }
            #expect(state.mails.isEmpty && state.credentials.isEmpty && !state.commands.contains("MAIL"))
        }
    }

    @Test(arguments: ["", "a", "a@", "@b", "a@b\r\nBcc: c@d", "a b@c", "a@b>, <c@d", "<a@b>", "a@-b"])
    func whatIsNoAddressIsNotMailed(text: String) {
        #expect(!MailMessage.isAddress(text))
        #expect(MailMessage.isAddress("o'neil+x@mail.example-1.test"))
    }

    @Test func theProgramDoesOneRoundAndSpoolsByDefault() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.budgets.budget(1) { $0.thresholds = [50] }
            try bench.budgets.settle(1, cost: Self.cent)
            let directory = "/tmp/xm\(UInt32.random(in: 0...UInt32.max))"
            AtExit.add { try? FileManager.default.removeItem(atPath: directory) }
            let settings = [
                "XEROTIER_DATABASE_URL": bench.budgets.ledger.owner.url, "XEROTIER_STATE_DIR": directory,
                "XEROTIER_MAIL_FROM": "billing@example.test",
            ]
            let runs = try (0..<2).map { _ in try Program.billing.run(["budgets"], settings) }
            #expect(
                runs.map(\.output) == [
                    "{\"fired\": 0, \"alerts_mailed\": 1, \"mails_sent\": 2, \"mails_deferred\": 0, \"mails_failed\": 0}\n",
                    "{\"fired\": 0, \"alerts_mailed\": 0, \"mails_sent\": 0, \"mails_deferred\": 0, \"mails_failed\": 0}\n",
                ], "\(runs)")
            let files = try FileManager.default.contentsOfDirectory(atPath: directory + "/mail")
            #expect(files.count == 2 && files.allSatisfy { $0.hasSuffix(".eml") })
            let bad = try Program.billing.run(["budgets"], settings.merging(["XEROTIER_MAIL_DRIVER": "smtp"]) { $1 })
            #expect(bad.status != 0 && bad.errors.contains("mail.url"))
        }
    }
}
