import Accounts
import Billing
import Foundation
import Jobs
import OpenAI
import Postgres
import Server
import Tenancy
import Testing
import Threads

/// Budgets and hard caps against a real Postgres (08 §8). Amounts here are nano-USD; a cent is 10,000,000.
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct BudgetTests {
    private static let cent: Int64 = 10_000_000

    /// A project with money, an endpoint and a key, and what it takes to spend it for them.
    struct Bench: Sendable {
        let ledger: LedgerTests.Bench
        let tenant: TestProject
        let endpoint = ID<Endpoint>.random()
        let key: ID<APIKey>

        init(cash: Int64 = 1_000 * cent) throws {
            ledger = try LedgerTests.Bench(cash: cash)
            tenant = TestProject(id: ledger.project, tenants: ledger.owner.tenants())
            key = try tenant.withConnection { try $0.createKey(NewKey(name: "k", scopes: [.inference]), by: tester) }.id
            let database = try ledger.owner.connect()
            try database.query(
                """
                INSERT INTO models (id, project_id, name, status, source) VALUES ('mdl_000000000000000000000001', \(ledger.project), 'm', 'ready', 'http_upstream')
                """)
            try database.query(
                """
                INSERT INTO endpoints (id, project_id, slug, name, model_id, tier, status)
                VALUES (\(endpoint), \(ledger.project), 'e', 'e', 'mdl_000000000000000000000001', 'demo', 'active')
                """)
        }

        func budget(_ cents: Int, _ change: (inout BudgetSettings) -> Void = { _ in }) throws -> BudgetObject {
            var settings = BudgetSettings(name: "b", amountCents: cents)
            change(&settings)
            return try tenant.withConnection { try $0.createBudget(settings, by: tester) }
        }

        func shown(_ budget: BudgetObject) throws -> BudgetObject { try tenant.withConnection { try $0.budget(budget.id) } }
        func spent(_ budget: BudgetObject) throws -> Int64 { try shown(budget).spentNano }

        /// Thresholds that a budget has fired, with the start of their periods, in the order of their firing.
        func fired(_ budget: BudgetObject) throws -> [Int] {
            try tenant.withConnection { connection in
                var list = ListQuery()
                (list.isAscending, list.limit) = (true, 100)
                return try connection.budgetAlerts(of: budget.id, list).data.map(\.threshold)
            }
        }

        func hold(_ want: Int64, atLeast: Int64 = 1, for request: String? = nil, id: ID<CreditHold> = .random()) throws -> (
            ID<CreditHold>, CreditGrant
        ) {
            let kind = request.map { CreditHoldKind.request($0, endpoint: endpoint, key: key) } ?? .lease
            let grant = try ledger.ledger.hold(
                id, kind: kind, of: ledger.project, gateway: "test-0", want: want, atLeast: atLeast, key: "hold:\(ID<CreditHold>.random())")
            return (id, grant)
        }

        /// Settles a request at the endpoint with the key.
        func settle(_ number: Int, cost: Int64, hold: ID<CreditHold>? = nil, held: Int64 = 0) throws {
            try settle([row(number, cost: cost, hold: hold, held: held)])
        }

        func settle(_ rows: [CommitRow]) throws { try ledger.settle(rows) }

        func row(_ number: Int, cost: Int64, hold: ID<CreditHold>? = nil, held: Int64 = 0, isElsewhere: Bool = false) -> CommitRow {
            var event = ledger.event(number, cost: cost)
            if !isElsewhere {
                event.endpointID = endpoint
                event.keyID = key
            }
            return event.commitRow(hold: hold, held: held)
        }

        /// What budgets take for the present.
        func setClock(_ time: String) throws {
            try ledger.owner.connect().execute(
                "CREATE OR REPLACE FUNCTION budget_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT timestamptz '\(time)' $$")
        }

        func check() throws -> Int {
            try ledger.owner.system(size: 1).withConnection { try $0.query("SELECT budget_check() AS fired")[0].get("fired") }
        }

        func events() throws -> [String] {
            try ledger.owner.connect().query(
                "SELECT payload->>'threshold' AS threshold FROM outbox WHERE kind = 'ox.budget_alert' ORDER BY id"
            )
            .map { try $0.get("threshold") }
        }
    }

    // MARK: Alerts

    @Test func crossingTwoThresholdsInOneRequestFiresBothOnce() async throws {
        try await onThread {
            let bench = try Bench()
            let budget = try bench.budget(10)
            try bench.settle(1, cost: 4 * Self.cent)
            #expect(try bench.fired(budget) == [])
            try bench.settle(2, cost: 5 * Self.cent)
            #expect(try bench.fired(budget) == [50, 75, 90])
            try bench.settle(3, cost: Self.cent - 1)
            #expect(try bench.fired(budget) == [50, 75, 90])
            try bench.settle(4, cost: 1)
            #expect(try bench.fired(budget) == [50, 75, 90, 100])
            #expect(try bench.check() == 0)
            #expect(try bench.events().sorted() == ["100", "50", "75", "90"])
            #expect(try bench.spent(budget) == 10 * Self.cent)
        }
    }

    /// Seen to fail, with rows beyond those of one, without the unique key of budget_history.
    @Test func manyWhoCheckAtOnceFireEachThresholdOnce() async throws {
        try await onThread {
            let bench = try Bench()
            let budget = try bench.budget(10)
            try bench.settle(1, cost: 20 * Self.cent)
            try bench.ledger.owner.connect().execute("DELETE FROM budget_history; DELETE FROM outbox")
            let fired = Lock(0)
            onThreads(8) { thread in
                for number in 0..<5 {
                    do {
                        let more = try bench.check()
                        fired.withLock { $0 += more }
                        try bench.settle(1_000 + thread * 10 + number, cost: 1)
                    } catch { Issue.record(error) }
                }
            }
            #expect(try bench.fired(budget) == [50, 75, 90, 100])
            #expect(try bench.events().count == 4)
            #expect(try bench.spent(budget) == 20 * Self.cent + 40)
        }
    }

    @Test func theNextPeriodArmsAnew() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.setClock("2027-02-28 23:59:59.999+00")
            let monthly = try bench.budget(10)
            let weekly = try bench.budget(10) { $0.period = .weekly }
            let daily = try bench.budget(10) { $0.period = .daily }
            #expect(monthly.periodStart == 1_801_440_000 && monthly.periodEnd == 1_803_859_200)
            // Monday the 22nd to Monday the 1st.
            #expect(weekly.periodStart == 1_803_254_400 && weekly.periodEnd == 1_803_859_200)
            #expect(daily.periodStart == 1_803_772_800 && daily.periodEnd == 1_803_859_200)
            try bench.settle(1, cost: 6 * Self.cent)
            for budget in [monthly, weekly, daily] { #expect(try bench.fired(budget) == [50]) }
            // Monday and the first.
            try bench.setClock("2027-03-01 00:00:00+00")
            #expect(try bench.spent(monthly) == 0)
            #expect(try bench.check() == 0)
            try bench.settle(2, cost: 8 * Self.cent)
            for budget in [monthly, weekly, daily] { #expect(try bench.fired(budget) == [50, 50, 75]) }
            try bench.setClock("2027-03-02 12:00:00+00")
            try bench.settle(3, cost: 8 * Self.cent)
            #expect(try bench.fired(daily) == [50, 50, 75, 50, 75])
            #expect(try bench.fired(weekly) == [50, 50, 75, 90, 100])
            #expect(try bench.spent(monthly) == 16 * Self.cent)
        }
    }

    @Test func whatABudgetHasReachedWhenItIsMadeOrChangedFiresAtOnce() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.settle([bench.row(1, cost: 6 * Self.cent), bench.row(2, cost: Self.cent, isElsewhere: true)])
            let budget = try bench.budget(10)
            #expect(budget.spentNano == 7 * Self.cent)
            #expect(try bench.fired(budget) == [50])
            let scoped = try bench.budget(10) { $0.scope.endpoints = [bench.endpoint.description] }
            #expect(scoped.spentNano == 6 * Self.cent)
            var settings = budget.settings
            settings.thresholds = [50, 60, 70, 80]
            _ = try bench.tenant.withConnection { try $0.replaceBudget(budget.id, by: settings, by: tester) }
            #expect(try bench.fired(budget) == [50, 60, 70])
            settings.scope.keys = [bench.key.description]
            let narrowed = try bench.tenant.withConnection { try $0.replaceBudget(budget.id, by: settings, by: tester) }
            #expect(narrowed.spentNano == 6 * Self.cent)
        }
    }

    /// Seen to fail, with sums that lack some, when the trigger does not count again under the lock.
    @Test func aBudgetThatIsMadeUnderLoadMissesNothingAndCountsNothingTwice() async throws {
        try await onThread {
            let bench = try Bench()
            let budgets = Lock<[BudgetObject]>([])
            onThreads(5) { thread in
                do {
                    guard thread < 4 else {
                        for _ in 0..<10 {
                            let budget = try bench.budget(1_000)
                            budgets.withLock { $0.append(budget) }
                        }
                        return
                    }
                    for number in 0..<50 { try bench.settle(thread * 100 + number, cost: 7) }
                } catch { Issue.record(error) }
            }
            for budget in budgets.withLock({ $0 }) { #expect(try bench.spent(budget) == 4 * 50 * 7) }
        }
    }

    // MARK: Hard caps

    @Test func aHoldIsGrantedOnlyWithinTheCap() async throws {
        try await onThread {
            let bench = try Bench()
            let budget = try bench.budget(10) { $0.isHardCap = true }
            let (first, grant) = try bench.hold(6 * Self.cent)
            #expect(grant.granted == 6 * Self.cent && grant.available == 4 * Self.cent)
            #expect(grant.limit == BudgetLimit(budget: budget.id, endsAt: budget.periodEnd))
            let (_, refused) = try bench.hold(5 * Self.cent, atLeast: 5 * Self.cent)
            #expect(refused == CreditGrant(granted: 0, available: 4 * Self.cent, limit: grant.limit))
            // Settling moves it from what is open to what is spent, and the rest that goes back is room again.
            try bench.settle(1, cost: 3 * Self.cent, hold: first, held: 6 * Self.cent)
            try bench.ledger.ledger.release(first)
            let (second, rest) = try bench.hold(100 * Self.cent)
            #expect(rest.granted == 7 * Self.cent && rest.available == 0)
            #expect(try bench.hold(1).1.granted == 0)
            try bench.settle(2, cost: 7 * Self.cent, hold: second, held: 7 * Self.cent)
            #expect(try bench.spent(budget) == 10 * Self.cent)
            // Lifted, it acts at once; deleted, it is gone.
            var settings = budget.settings
            settings.capPercent = 200
            _ = try bench.tenant.withConnection { try $0.replaceBudget(budget.id, by: settings, by: tester) }
            #expect(try bench.hold(1, id: second).1.granted == 1)
            try bench.tenant.withConnection { try $0.deleteBudget(budget.id, by: tester) }
            let (_, free) = try bench.hold(50 * Self.cent)
            #expect(free.granted == 50 * Self.cent && free.limit == nil)
        }
    }

    @Test func aCapWithAScopeCountsTheHoldsOfItsRequestsAlone() async throws {
        try await onThread {
            let bench = try Bench()
            let budget = try bench.budget(10) {
                $0.isHardCap = true
                $0.scope.endpoints = [bench.endpoint.description]
                $0.scope.keys = [bench.key.description]
            }
            #expect(try bench.hold(50 * Self.cent).1.limit == nil)
            let (own, grant) = try bench.hold(7 * Self.cent, for: "req_1")
            #expect(
                grant
                    == CreditGrant(
                        granted: 7 * Self.cent, available: 3 * Self.cent, limit: BudgetLimit(budget: budget.id, endsAt: budget.periodEnd)))
            #expect(try bench.hold(4 * Self.cent, atLeast: 4 * Self.cent, for: "req_2").1.granted == 0)
            // A growing hold is still one of its endpoint and key.
            #expect(try bench.hold(4 * Self.cent, atLeast: 4 * Self.cent, id: own).1.granted == 0)
            #expect(try bench.hold(3 * Self.cent, atLeast: 3 * Self.cent, id: own).1.granted == 3 * Self.cent)
            try bench.settle([
                bench.row(1, cost: 8 * Self.cent, hold: own, held: 10 * Self.cent), bench.row(2, cost: Self.cent, isElsewhere: true),
            ])
            #expect(try bench.spent(budget) == 8 * Self.cent)
            #expect(try bench.hold(100 * Self.cent, for: "req_3").1.granted == 2 * Self.cent)
            let caps = try bench.ledger.ledger.scopedCaps(of: bench.ledger.project)
            #expect(
                caps == ScopedCaps(generation: 1, scopes: [.init(endpoints: [bench.endpoint.description], keys: [bench.key.description])]))
        }
    }

    /// Seen to fail, with more than the cap, when `budget_room` is not asked.
    @Test func holdsThatRaceNeverPassTheCap() async throws {
        try await onThread {
            let bench = try Bench()
            let budget = try bench.budget(1) { $0.isHardCap = true }
            onThreads(16) { thread in
                for number in 0..<20 {
                    do {
                        let request = thread * 100 + number
                        let (id, grant) = try bench.hold(Self.cent / 16, atLeast: 1_000, for: "req_\(request)")
                        guard grant.granted > 0 else { continue }
                        try bench.settle(request, cost: grant.granted * Int64(request % 3) / 2, hold: id, held: grant.granted)
                    } catch { Issue.record(error) }
                }
            }
            let spent = try bench.spent(budget)
            #expect(spent <= Self.cent && spent > Self.cent * 9 / 10)
        }
    }

    /// Seen to fail, with a cost beyond the cap, when the excess asks for the balance alone.
    @Test func whatNoHoldCoversIsPaidOnlyAsFarAsTheCapLeavesRoom() async throws {
        try await onThread {
            let bench = try Bench()
            let budget = try bench.budget(10) { $0.isHardCap = true }
            let (lease, _) = try bench.hold(8 * Self.cent)
            let before = try bench.ledger.balances().values.reduce(0, +)
            try bench.settle([
                bench.row(1, cost: 5 * Self.cent, hold: lease, held: 4 * Self.cent),
                bench.row(2, cost: 6 * Self.cent, hold: lease, held: 4 * Self.cent),
            ])
            #expect(try bench.spent(budget) == 10 * Self.cent)
            #expect(try before - bench.ledger.balances().values.reduce(0, +) == 10 * Self.cent)
            #expect(try bench.ledger.platform("write_off") == -Self.cent)
            #expect(try bench.ledger.platform("revenue") == 11 * Self.cent)
            #expect(try bench.ledger.ledger.verify().violations == [])
        }
    }

    // MARK: Rules

    @Test func twentyBudgetsAreTheMost() async throws {
        try await onThread {
            let bench = try Bench()
            let refused = Lock(0)
            onThreads(5) { _ in
                for _ in 0..<5 {
                    do { _ = try bench.budget(1) } catch let error as APIError where error.code == .quotaExceeded {
                        refused.withLock { $0 += 1 }
                    } catch { Issue.record(error) }
                }
            }
            #expect(refused.withLock { $0 } == 5)
            let listed = try bench.tenant.withConnection { connection in
                var list = ListQuery()
                list.limit = 100
                return try connection.budgets(list).data
            }
            #expect(listed.count == 20)
            try bench.tenant.withConnection { try $0.deleteBudget(listed[0].id, by: tester) }
            _ = try bench.budget(1)
        }
    }

    @Test func anotherProjectsThingsAreNotThere() async throws {
        try await onThread {
            let bench = try Bench()
            let budget = try bench.budget(10)
            let other = try bench.ledger.owner.makeProject("other")
            func code(_ body: (TenantConnection) throws -> Void) -> APIError? {
                do { try other.withConnection(body) } catch { return (error as? any APIErrorConvertible)?.apiError }
                return nil
            }
            #expect(code { _ = try $0.budget(budget.id) }?.code == .notFound)
            #expect(code { _ = try $0.replaceBudget(budget.id, by: budget.settings, by: tester) }?.code == .notFound)
            #expect(code { try $0.deleteBudget(budget.id, by: tester) }?.code == .notFound)
            #expect(code { _ = try $0.budgetAlerts(of: budget.id) }?.code == .notFound)
            var settings = BudgetSettings(name: "b", amountCents: 1)
            settings.scope.endpoints = [bench.endpoint.description]
            #expect(code { _ = try $0.createBudget(settings, by: tester) }?.param == "scope.endpoint_ids[0]")
            settings.scope.endpoints = []
            settings.scope.keys = [bench.key.description]
            #expect(code { _ = try $0.createBudget(settings, by: tester) }?.param == "scope.api_key_ids[0]")
            #expect(try other.withConnection { try $0.budgets().data.count } == 0)
        }
    }

    @Test func aProjectWithoutBudgetsTakesNoPart() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.settle(1, cost: 10)
            let budget = try bench.budget(10)
            try bench.tenant.withConnection { try $0.deleteBudget(budget.id, by: tester) }
            let flags = try bench.ledger.owner.connect().query("SELECT 1 FROM ledger_accounts WHERE is_budgeted")
            #expect(flags.isEmpty)
            try bench.settle(2, cost: 10)
            #expect(try bench.ledger.count("budget_spending") == 1)
            #expect(
                try bench.ledger.owner.connect().query("SELECT spent_nano FROM budget_spending")[0].get("spent_nano", as: Int64.self) == 10)
        }
    }
}
