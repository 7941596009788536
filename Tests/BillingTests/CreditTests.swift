import Billing
import Foundation
import Logging
import OpenAI
import Postgres
import Server
import Testing
import Threads

/// Credit with real threads, over a ledger on paper.
@Suite struct CreditTests {
    private let project = ID<Project>.random()
    private let metrics = Metrics()

    private func credit(_ ledger: PaperLedger, timeScale: Double = 1) -> Credit {
        Credit(
            source: ledger, gateway: "test", timeScale: timeScale, metrics: metrics,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Runs `body` on so many threads and waits for all.
    private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let done = Monitor(0)
        for number in 0..<count {
            startThread("test") {
                body(number)
                done.change { $0 += 1 }
            }
        }
        done.wait(while: { $0 < count }, then: { _ in })
    }

    @Test func manyThreadsTakeAndGiveBackAndNothingIsLost() throws {
        let ledger = PaperLedger(balance: 50_000_000_000)
        let credit = credit(ledger, timeScale: 0.05)
        onThreads(32) { number in
            for turn in 0..<2_000 {
                guard let request = try! credit.take(want: 2_048_000, least: 16_000, of: project, for: "r\(number).\(turn)") else {
                    Issue.record("refused")
                    continue
                }
                if turn % 7 == 0 { _ = try! request.grow(want: 500_000, least: 1) }
                if turn % 5 == 0 {
                    request.giveBack()
                } else {
                    let cost = Int64(turn * 97 % 2_000_000)
                    ledger.settle(request.hold, held: request.held, cost: cost)
                    request.settled(cost: cost)
                }
            }
        }
        credit.shutdown()
        let books = ledger.state.withLock { $0 }
        #expect(books.holds.isEmpty)
        #expect(books.balance + books.revenue == 50_000_000_000)
        #expect(books.writtenOff == 0)
        // Nearly all of it happens in memory.
        #expect(books.holdCalls < 6_400)
    }

    @Test func concurrentMissesShareOneCall() throws {
        let ledger = PaperLedger(balance: 100_000_000_000) { Thread.sleep(forTimeInterval: 0.05) }
        let credit = credit(ledger)
        let first = try #require(try credit.take(want: 1_000, least: 1_000, of: project, for: "first"))
        first.settled(cost: 0)
        onThreads(64) { number in
            let request = try! credit.take(want: 1_000_000, least: 1_000, of: project, for: "r\(number)")
            request?.settled(cost: 0)
        }
        #expect(ledger.state.withLock { $0.holdCalls } <= 6)
        credit.shutdown()
    }

    @Test func moneyFor50LetsNoMoreThan50Begin() {
        let ledger = PaperLedger(balance: 50 * 30_000) { Thread.sleep(forTimeInterval: 0.001) }
        let processes = [credit(ledger), credit(ledger)]
        let begun = Lock(0)
        onThreads(200) { number in
            guard let request = try! processes[number % 2].take(want: 30_000, least: 30_000, of: project, for: "r\(number)") else { return }
            begun.withLock { $0 += 1 }
            Thread.sleep(forTimeInterval: 0.3)
            ledger.settle(request.hold, held: request.held, cost: 30_000)
            request.settled(cost: 30_000)
        }
        for credit in processes { credit.shutdown() }
        #expect(begun.withLock { $0 } == 50)
        #expect(ledger.state.withLock { $0.balance } == 0)
        #expect(ledger.state.withLock { $0.revenue } == 50 * 30_000)
    }

    @Test func anEmptyBalanceIsRefusedWithoutACallForEachRequest() throws {
        let ledger = PaperLedger(balance: 0)
        let credit = credit(ledger)
        for number in 0..<1_000 { #expect(try credit.take(want: 100, least: 10, of: project, for: "r\(number)") == nil) }
        #expect(ledger.state.withLock { $0.holdCalls } < 20)
        ledger.state.withLock { $0.balance = 1_000 }
        Thread.sleep(forTimeInterval: 0.6)
        let request = try #require(try credit.take(want: 100, least: 10, of: project, for: "after"))
        request.giveBack()
        credit.shutdown()
    }

    @Test func aLedgerThatIsAwayIsNotAnEmptyBalance() throws {
        let ledger = PaperLedger(balance: 1_000)
        let credit = credit(ledger)
        ledger.state.withLock { $0.failures = [(false, PostgresError.cannotConnect("away"))] }
        let error = #expect(throws: APIError.self) { try credit.take(want: 100, least: 10, of: project, for: "r") }
        #expect(error?.code == .serviceUnavailable)
        #expect(error?.retryAfter != nil)
        credit.shutdown()
    }

    @Test func aCallOfUnknownOutcomeIsRepeatedAndHappensOnce() throws {
        let ledger = PaperLedger(balance: 1_000)
        let credit = credit(ledger)
        ledger.state.withLock { $0.failures = [(true, PostgresError.connectionLost("cut"))] }
        let request = try #require(try credit.take(want: 100, least: 100, of: project, for: "r"))
        #expect(ledger.state.withLock { $0.balance } == 900)
        request.giveBack()
        credit.shutdown()
        #expect(ledger.state.withLock { $0.balance } == 1_000)
    }

    @Test func leasesAreFilledAheadOfNeed() throws {
        let ledger = PaperLedger(balance: 50_000_000_000)
        let credit = credit(ledger)
        var requests: [RequestCredit] = []
        for number in 0..<100 {
            requests.append(try #require(try credit.take(want: 5_000_000, least: 5_000_000, of: project, for: "r\(number)")))
            Thread.sleep(forTimeInterval: 0.002)
        }
        // At least nine of ten requests found what they needed.
        let text = metrics.render()
        #expect(ledger.state.withLock { $0.holdCalls } < 60, "\(text)")
        for request in requests { request.giveBack() }
        credit.shutdown()
        #expect(ledger.state.withLock { $0.balance } == 50_000_000_000)
    }

    @Test func idleLeasesGoBackAndRunningOnesAreRenewed() throws {
        let ledger = PaperLedger(balance: 1_000_000)
        let credit = credit(ledger, timeScale: 0.02)
        let long = try #require(try credit.take(want: 100, least: 100, of: project, for: "long"))
        let idle = try #require(try credit.take(want: 100, least: 100, of: .random(), for: "idle"))
        idle.giveBack()
        Thread.sleep(forTimeInterval: 1)
        #expect(ledger.state.withLock { $0.holds.count } == 1)
        #expect(ledger.state.withLock { $0.renewCalls } > 0)
        long.giveBack()
        Thread.sleep(forTimeInterval: 0.5)
        #expect(ledger.state.withLock { $0.holds.isEmpty && $0.balance == 1_000_000 })
        credit.shutdown()
    }

    @Test func aRequestWithAHoldOfItsOwnGrowsIntoAnUnusedLease() throws {
        let ledger = PaperLedger(balance: 1_000)
        let credit = credit(ledger)
        let short = try #require(try credit.take(want: 300, least: 300, of: project, for: "short"))
        let long = try #require(try credit.take(want: 500, least: 500, of: project, for: "long"))
        ledger.settle(short.hold, held: 300, cost: 100)
        short.settled(cost: 100)
        #expect(try long.grow(want: 400, least: 1) == 200)
        #expect(try long.grow(want: 400, least: 1) == 200)
        #expect(try long.grow(want: 400, least: 1) == 0)
        ledger.settle(long.hold, held: long.held, cost: 900)
        long.settled(cost: 900)
        credit.shutdown()
        #expect(ledger.state.withLock { $0.balance == 0 && $0.writtenOff == 0 && $0.revenue == 1_000 })
    }

    @Test func aRequestWhoseLeaseHasEndedHoldsAnewWhenItGrows() throws {
        let ledger = PaperLedger(balance: 1_000)
        let credit = credit(ledger)
        let request = try #require(try credit.take(want: 300, least: 300, of: project, for: "r"))
        ledger.release(request.hold)
        #expect(try request.grow(want: 200, least: 1) == 200)
        #expect(request.held == 500)
        #expect(ledger.state.withLock { $0.balance } == 500)
        ledger.settle(request.hold, held: request.held, cost: 450)
        request.settled(cost: 450)
        credit.shutdown()
        #expect(ledger.state.withLock { $0.balance } == 550)
    }

    // MARK: Hard caps

    @Test func aRequestUnderACapWithAScopeHoldsBesideTheLease() throws {
        let ledger = PaperLedger(balance: 1_000_000_000)
        let credit = credit(ledger)
        let (endpoint, key) = (ID<Endpoint>.random(), ID<APIKey>.random())
        ledger.state.withLock {
            $0.caps = ScopedCaps(generation: 3, scopes: [.init(endpoints: [endpoint.description], keys: [key.description])])
        }
        func take(_ endpoint: ID<Endpoint>, _ key: ID<APIKey>) throws -> RequestCredit {
            let payer = CreditPayer(project: project, endpoint: endpoint, key: key, budgetGeneration: 3)
            return try credit.take(want: 100, least: 100, by: payer, for: "r\(UInt32.random(in: 0...UInt32.max))")
        }
        let own = try take(endpoint, key)
        let others = try [take(.random(), key), take(endpoint, .random())]
        let requestHolds = ledger.state.withLock { $0.requestHolds }
        #expect(requestHolds == [own.hold])
        #expect(others[0].hold == others[1].hold)
        for request in others + [own] { request.giveBack() }
        credit.shutdown()
        #expect(ledger.state.withLock { $0.balance } == 1_000_000_000)
    }

    @Test func whenBudgetsChangeTheLeaseIsGivenUp() throws {
        let ledger = PaperLedger(balance: 1_000_000_000)
        let credit = credit(ledger)
        func take(_ generation: Int) throws -> RequestCredit {
            try credit.take(
                want: 100, least: 100, by: CreditPayer(project: project, budgetGeneration: generation), for: "r\(generation)")
        }
        let before = try take(0)
        ledger.state.withLock { $0.caps.generation = 1 }
        let after = try take(1)
        #expect(after.hold != before.hold)
        // A key's record that is a second old changes nothing.
        #expect(try take(0).hold == after.hold)
        before.giveBack()
        for _ in 0..<100 where ledger.state.withLock({ $0.holds[before.hold] }) != nil { Thread.sleep(forTimeInterval: 0.05) }
        #expect(ledger.state.withLock { $0.holds[before.hold] } == nil)
        credit.shutdown()
    }

    @Test func aRefusalNamesTheCapAndAlsoOneFromMemoryDoes() throws {
        let ledger = PaperLedger(balance: 0)
        let limit = BudgetLimit(budget: .random(), endsAt: Int(Date().timeIntervalSince1970) + 100)
        ledger.state.withLock { $0.limit = limit }
        let credit = credit(ledger)
        for _ in 0..<3 {
            let error = #expect(throws: CreditRefusal.self) {
                try credit.take(want: 100, least: 10, by: CreditPayer(project: project), for: "r")
            }
            #expect(error?.limit == limit && error?.apiError.code == .budgetExceeded && error?.apiError.param == "budget")
            #expect(error?.apiError.details.first?.value == .string(limit.budget.description))
        }
        credit.shutdown()
    }
}
