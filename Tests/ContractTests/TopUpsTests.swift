import Accounts
import Billing
import Foundation
import HTTPClient
import OpenAI
import Postgres
import Synchronization
import Tenancy
import Testing

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct TopUpsTests {
    /// Two projects, and a card processor.
    final class Bench: Sendable {
        let database: TestDatabase
        let (a, b): (ID<Project>, ID<Project>)
        let topUps: TopUps
        let stripe: FakeStripe

        init() throws {
            database = try PostgresServer.makeDatabase()
            a = try database.makeProject("acme").id
            b = try database.makeProject("bolt").id
            topUps = TopUps(database: database.system(size: 8))
            stripe = try FakeStripe()
        }

        /// Cash in nano-USD, and how many ledger transactions there are.
        func cash(of project: ID<Project>) throws -> Int64 {
            try database.connect().query("SELECT balance_nano FROM ledger_accounts WHERE project_id = \(project) AND kind = 'cash'")[0].get(
                "balance_nano")
        }

        func count(_ table: String) throws -> Int {
            try database.connect().query("SELECT count(*) AS n FROM \(trusted: table)")[0].get("n")
        }

        func checkout(_ dollars: Int64 = 10, of project: ID<Project>? = nil) throws -> Order {
            try topUps.checkout(
                dollars * NanoUSD.perDollar, of: project ?? a, name: "Acme", at: stripe.provider(), returnURL: "https://example.com/back",
                by: nil
            ).0
        }

        /// What the route does with a callback.
        @discardableResult
        func receive(_ body: String, signature: String? = nil) throws -> TopUps.Outcome {
            let event = try stripe.provider().verifyWebhook(
                Array(body.utf8), signature: signature ?? FakeStripe.sign(body), at: Int(Date().timeIntervalSince1970))
            return try topUps.receive(event, of: "stripe")
        }
    }

    static func error(_ body: () throws -> some Any) -> PaymentError? {
        do {
            _ = try body()
            return nil
        } catch {
            return error as? PaymentError
        }
    }

    static let ten = 10 * NanoUSD.perDollar

    @Test func aPaymentIsBookedOnceForEachReferenceHoweverManyTry() async throws {
        try await onThread {
            let bench = try Bench()
            let orders = Mutex<Set<String>>([])
            onThreads(8) { _ in
                let order = try? bench.topUps.book(Self.ten, to: bench.a, reference: "bank 17", by: "ops").order
                orders.withLock { _ = $0.insert(order?.id.description ?? "failed") }
            }
            #expect(orders.withLock { $0.count } == 1 && !orders.withLock { $0.contains("failed") })
            #expect(try bench.cash(of: bench.a) == Self.ten)
            #expect(try bench.count("ledger_transactions") == 1 && bench.count("orders") == 1)
            #expect(try bench.database.connect().query("SELECT 1 FROM audit_log WHERE action = 'order.book'").count == 1)
            let (again, isNew) = try bench.topUps.book(Self.ten, to: bench.a, reference: "bank 17", by: "ops")
            #expect(!isNew && again.state == .paid && again.paymentID == "bank 17" && again.transactionID != nil)
            // The same reference for another amount or project is a mistake.
            #expect(
                Self.error { try bench.topUps.book(2 * Self.ten, to: bench.a, reference: "bank 17", by: "ops") }
                    == .referenceInUse("bank 17"))
            #expect(
                Self.error { try bench.topUps.book(Self.ten, to: bench.b, reference: "bank 17", by: "ops") } == .referenceInUse("bank 17"))
            #expect(try bench.cash(of: bench.a) == Self.ten && bench.cash(of: bench.b) == 0)
            _ = try bench.topUps.book(Self.ten, to: bench.a, reference: "bank 18", by: "ops")
            #expect(try bench.cash(of: bench.a) == 2 * Self.ten)
        }
    }

    /// Below 5 and above 5,000 dollars no checkout is made, and none of a fraction of a cent.
    @Test(arguments: [Int64.min, -1, 0, 1, 4_990_000_000, 5_000_010_000_000, 10_000_000_001, 100_000_000_000_000_001, .max])
    func anAmountOutOfRangeIsNotBooked(amount: Int64) async throws {
        try await onThread {
            let bench = try Bench()
            if !Order.manualRange.contains(amount) {
                #expect(Self.error { try bench.topUps.book(amount, to: bench.a, reference: "r", by: nil) } != nil)
            }
            #expect(
                Self.error {
                    try bench.topUps.checkout(
                        amount, of: bench.a, name: "Acme", at: bench.stripe.provider(), returnURL: "https://example.com", by: nil)
                } != nil)
            #expect(try bench.count("orders") == 0 && bench.count("ledger_transactions") == 0 && bench.stripe.calls.isEmpty)
        }
    }

    @Test(arguments: ["", String(repeating: "x", count: 129), "a\nb", "a\u{0}b"])
    func aBadReferenceIsNotBooked(reference: String) async throws {
        try await onThread {
            let bench = try Bench()
            #expect(Self.error { try bench.topUps.book(Self.ten, to: bench.a, reference: reference, by: nil) } == .badReference)
            #expect(try bench.count("orders") == 0)
        }
    }

    @Test func aCheckoutCreditsNothingAndItsCallbackCreditsOnce() async throws {
        try await onThread {
            let bench = try Bench()
            let order = try bench.checkout()
            #expect(order.state == .open && order.amount == Self.ten)
            #expect(try bench.cash(of: bench.a) == 0)
            let calls = bench.stripe.calls
            #expect(calls.map(\.path) == ["/v1/customers", "/v1/checkout/sessions"])
            #expect(calls.allSatisfy { $0.authorization == "Bearer sk_test_secret" })
            #expect(calls[1].key == "checkout:\(order.id)" && calls[1].form["line_items[0][price_data][unit_amount]"] == "1000")
            #expect(
                calls[1].form["client_reference_id"] == order.id.description && calls[1].form["success_url"] == "https://example.com/back")

            // The same callback many times at once, and another event of the same payment.
            let outcomes = Mutex<[TopUps.Outcome]>([])
            onThreads(8) { _ in
                let outcome = try? bench.receive(FakeStripe.completed(order, event: "evt_1", payment: "pi_1"))
                outcomes.withLock { $0.append(outcome ?? .ignored) }
            }
            #expect(outcomes.withLock { $0.filter { $0 == .credited }.count } == 1)
            #expect(outcomes.withLock { $0.filter { $0 == .known }.count } == 7)
            #expect(try bench.receive(FakeStripe.succeeded(order, event: "evt_2", payment: "pi_1")) == .known)
            #expect(try bench.receive(FakeStripe.succeeded(order, event: "evt_3", payment: "pi_other")) == .paidTwice)
            #expect(try bench.cash(of: bench.a) == Self.ten)
            #expect(try bench.count("ledger_transactions") == 1 && bench.count("provider_events") == 3)
            let key: String = try bench.database.connect().query("SELECT idempotency_key FROM ledger_transactions")[0].get(
                "idempotency_key")
            #expect(key == "topup:pi_1")

            // The customer is made once.
            _ = try bench.checkout()
            #expect(bench.stripe.calls.filter { $0.path == "/v1/customers" }.count == 1)
        }
    }

    @Test func bothEventsOfOnePaymentAtOnceCreditOnce() async throws {
        try await onThread {
            let bench = try Bench()
            for number in 0..<10 {
                let order = try bench.checkout()
                onThreads(2) { thread in
                    let body =
                        thread == 0
                        ? FakeStripe.completed(order, event: "evt_a\(number)", payment: "pi_\(number)")
                        : FakeStripe.succeeded(order, event: "evt_b\(number)", payment: "pi_\(number)")
                    _ = try? bench.receive(body)
                }
            }
            #expect(try bench.cash(of: bench.a) == 10 * Self.ten && bench.count("ledger_transactions") == 10)
        }
    }

    @Test func whatIsNotAPaymentOfTheOrderCreditsNothing() async throws {
        try await onThread {
            let bench = try Bench()
            let order = try bench.checkout()
            var stranger = order
            stranger.id = .random()
            let bodies: [(String, TopUps.Outcome)] = [
                (FakeStripe.completed(order, event: "e1", payment: "p1", cents: 999), .wrongAmount),
                (FakeStripe.completed(order, event: "e2", payment: "p2", cents: 100_000), .wrongAmount),
                (FakeStripe.completed(order, event: "e3", payment: "p3", status: "unpaid"), .ignored),
                (FakeStripe.completed(stranger, event: "e4", payment: "p4"), .noSuchOrder),
                (#"{"id":"e5","type":"customer.created","data":{"object":{"id":"cus_1"}}}"#, .ignored),
                (#"{"id":"e6","type":"checkout.session.expired","data":{"object":{"client_reference_id":"\#(order.id)"}}}"#, .failed),
            ]
            for (body, outcome) in bodies { #expect(try bench.receive(body) == outcome, "\(body)") }
            for (body, _) in bodies { #expect(try bench.receive(body) == .known, "\(body)") }
            #expect(try bench.cash(of: bench.a) == 0 && bench.count("ledger_transactions") == 0)
            // Late, but paid all the same.
            #expect(try bench.receive(FakeStripe.completed(order, event: "e7", payment: "p7")) == .credited)
            #expect(try bench.cash(of: bench.a) == Self.ten)
        }
    }

    @Test func forgedOldAndBrokenCallbacksChangeNothing() async throws {
        try await onThread {
            let bench = try Bench()
            let order = try bench.checkout()
            let body = FakeStripe.completed(order, event: "e1", payment: "p1")
            let now = Int(Date().timeIntervalSince1970)
            for signature in [
                "", "t=\(now),v1=00", FakeStripe.sign(body, secret: "whsec_other"), FakeStripe.sign(body, at: now - 301),
                FakeStripe.sign(body, at: now + 400),
                FakeStripe.sign(body + " "),
            ] { #expect(Self.error { try bench.receive(body, signature: signature) } == .badSignature, "\(signature)") }
            for broken in [
                "", "{", "[]", "{}", #"{"id":"e"}"#, #"{"id":"e","type":"x"}"#, #"{"id":"e","type":"x","data":{"object":[]}}"#,
                body.replacingOccurrences(of: "\"amount_total\":1000", with: "\"amount_total\":-1000"),
                body.replacingOccurrences(of: "\"amount_total\":1000", with: "\"amount_total\":\"1000\""),
                body.replacingOccurrences(of: "\"amount_total\":1000", with: "\"amount_total\":1000.5"),
                body.replacingOccurrences(of: "\"amount_total\":1000", with: "\"amount_total\":1e30"),
                body.replacingOccurrences(of: "\"amount_total\":1000", with: "\"amount_total\":NaN"),
                FakeStripe.completed(order, event: "e1", payment: "p1", currency: "eur"),
            ] { #expect(Self.error { try bench.receive(broken) } == .badCallback, "\(broken)") }
            #expect(try bench.cash(of: bench.a) == 0 && bench.count("provider_events") == 0 && bench.count("ledger_transactions") == 0)
        }
    }

    @Test func aCallbackWhoseTransactionFailsIsTakenAgain() async throws {
        try await onThread {
            let bench = try Bench()
            let order = try bench.checkout()
            let body = FakeStripe.completed(order, event: "e1", payment: "p1")
            let connection = try bench.database.connect()
            try connection.execute("ALTER TABLE orders ADD CONSTRAINT never CHECK (state <> 'paid')")
            #expect(throws: PostgresError.self) { try bench.receive(body) }
            #expect(try bench.cash(of: bench.a) == 0 && bench.count("provider_events") == 0)
            try connection.execute("ALTER TABLE orders DROP CONSTRAINT never")
            #expect(try bench.receive(body) == .credited)
            #expect(try bench.cash(of: bench.a) == Self.ten)
        }
    }

    @Test func aProviderThatIsAwayOrRefusesLeavesAnOpenOrderAndNoCredit() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.checkout()
            for (status, body, expected) in [
                ("500 Oops", "{}", PaymentError.providerUnavailable), ("429 Slow", "{}", .providerUnavailable),
                ("200 OK", "no json", .providerUnavailable),
                (
                    "402 Declined", #"{"error":{"code":"card_declined","message":"Your card 4242 was declined."}}"#,
                    .refused("card_declined")
                ),
                ("307 Away", "{}", .refused("status 307")),
            ] {
                bench.stripe.fail(status, body)
                #expect(Self.error { try bench.checkout() } == expected, "\(status)")
            }
            bench.stripe.server.stop()
            #expect(Self.error { try bench.checkout() } == .providerUnavailable)
            #expect(try bench.cash(of: bench.a) == 0)
            #expect(try bench.database.connect().query("SELECT 1 FROM orders WHERE state <> 'open'").isEmpty)
            #expect(PaymentError.providerUnavailable.apiError.code.status == 503 && PaymentError.refused("x").apiError.code.status == 400)
        }
    }

    @Test func theOtherCallsOfTheProviderAreAsDocumented() async throws {
        try await onThread {
            let bench = try Bench()
            let stripe = try bench.stripe.provider()
            let order = try bench.checkout()
            #expect(try stripe.createPortal(customer: "cus_1", returnURL: "https://example.com").hasPrefix("https://billing.stripe.com/"))
            try stripe.attachMethod("pm_1", to: "cus_1")
            try stripe.setDefault("pm_1", of: "cus_1")
            try stripe.detachMethod("pm/1")
            let charged = try stripe.charge(order, customer: "cus_1", method: "pm_1")
            #expect(try stripe.charge(order, customer: "cus_1", method: "pm_1") == charged)
            let refunded = try stripe.refund(payment: "pi_1", amount: 5 * NanoUSD.perDollar, key: "r1")
            #expect(try stripe.refund(payment: "pi_1", amount: 5 * NanoUSD.perDollar, key: "r1") == refunded)
            let calls = bench.stripe.calls.dropFirst(2)
            #expect(
                calls.map(\.path) == [
                    "/v1/billing_portal/sessions", "/v1/payment_methods/pm_1/attach", "/v1/customers/cus_1",
                    "/v1/payment_methods/pm%2F1/detach",
                    "/v1/payment_intents", "/v1/payment_intents", "/v1/refunds", "/v1/refunds",
                ])
            #expect(
                calls.filter { $0.path == "/v1/payment_intents" }.allSatisfy {
                    $0.key == "charge:\(order.id)" && $0.form["amount"] == "1000"
                })
            #expect(calls.last?.form["amount"] == "500" && calls.last?.key == "refund:r1")
        }
    }

    @Test func theManualProviderLeavesAnOpenOrder() async throws {
        try await onThread {
            let bench = try Bench()
            let (order, checkout) = try bench.topUps.checkout(
                Self.ten, of: bench.a, name: "Acme", at: ManualProvider(), returnURL: "https://example.com", by: "ops")
            #expect(order.state == .open && checkout.url == nil && checkout.id == order.id.description)
            #expect(Self.error { try ManualProvider().createPortal(customer: "c", returnURL: "u") } == .notOffered(provider: "manual"))
            #expect(try bench.cash(of: bench.a) == 0)
        }
    }

    @Test func tenantsSeeTheirOwnOrdersAndChangeNone() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.checkout()
            let tenants = bench.database.tenants()
            #expect(try tenants.withConnection(of: bench.a) { try $0.query("SELECT 1 FROM orders") }.count == 1)
            #expect(try tenants.withConnection(of: bench.b) { try $0.query("SELECT 1 FROM orders") }.isEmpty)
            for statement: SQL in [
                "UPDATE orders SET state = 'paid'", "INSERT INTO orders (id) VALUES ('x')", "SELECT 1 FROM provider_events",
                "SELECT 1 FROM provider_customers",
            ] {
                #expect(
                    TenancyTests.sqlState { try tenants.withConnection(of: bench.a) { try $0.query(statement) } } == "42501",
                    "\(statement.text)")
            }
        }
    }
}
