import Billing
import Foundation
import OpenAI
import Postgres
import Tenancy
import Testing
import Threads

/// Rollups against a real Postgres: every row is in them once, whoever commits late, races or dies.
///
/// The watermark waits for every transaction of the whole server, those of other tests' databases included: hence `eventually`.
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct UsageRollupTests {
    struct Bench: Sendable {
        let money: LedgerTests.Bench
        let rollups: UsageRollups
        let today = UTCDay(second: Int(Date().timeIntervalSince1970))

        init(cash: Int64 = 0, promo: Int64 = 0) throws {
            money = try LedgerTests.Bench(cash: cash, promo: promo)
            rollups = UsageRollups(database: money.owner.system())
            // Rows that are older than the ledger would not be held against it.
            try money.owner.connect().execute("UPDATE ledger_accounts SET created_at = now() - interval '200 days'")
        }

        var database: TestDatabase { money.owner }

        /// A usage row as a settlement writes it, by whatever transaction `connection` is in.
        func insert(_ number: Int, cost: Int64 = 3, day: UTCDay? = nil, slug: String = "chat", on connection: Connection) throws {
            let id = "req_" + String(repeating: "0", count: 24 - String(number).count) + String(number)
            try connection.query(
                """
                INSERT INTO usage_events (id, project_id, request_id, endpoint_slug, surface, service_tier, tier, is_xim, is_stream, input_tokens,
                    output_tokens, cached_tokens, reasoning_tokens, cost_nano, price_nano_per_mtok, multiplier_bp, status_code, fault,
                    cut_by_client, ttft_ms, latency_ms, queue_ms, router_us, retries, created_at)
                VALUES (\(id), \(money.project), \(id), \(slug), 'chat', 'default', 'demo', false, false, 10, 20, 5, 0, \(cost), 1, 10000,
                    200, \(number % 7 == 0 ? "client" : "none"), false, NULL, \(number), 0, 0, 0,
                    to_timestamp(\((day ?? today).start + 43_200)))
                """)
        }

        struct Sums: Equatable { var (requests, cost, tokens, revisions) = (0, Int64(0), 0, 0) }

        func kept() throws -> Sums {
            try sums(
                "SELECT coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(cost_nano), 0)::bigint AS cost, coalesce(sum(input_tokens + output_tokens), 0)::bigint AS tokens, coalesce(sum(revision - 1), 0)::bigint AS revisions FROM daily_usage_rollups"
            )
        }

        /// Of the rows themselves; with `counted` only of those below the watermark.
        func raw(counted: Bool = false) throws -> Sums {
            try sums(
                "SELECT count(*) AS requests, coalesce(sum(cost_nano), 0)::bigint AS cost, coalesce(sum(input_tokens + output_tokens), 0)::bigint AS tokens, 0 AS revisions FROM usage_events WHERE NOT \(counted) OR xid < (SELECT watermark FROM usage_progress)"
            )
        }

        private func sums(_ query: SQL) throws -> Sums {
            let row = try database.connect().query(query)[0]
            return Sums(
                requests: try row.get("requests"), cost: try row.get("cost"), tokens: try row.get("tokens"),
                revisions: try row.get("revisions"))
        }

        /// All that is kept, as text.
        func everything() throws -> [String] {
            try database.connect().query("SELECT r::text AS line FROM daily_usage_rollups r ORDER BY 1").map { try $0.get("line") }
        }

        /// Adds until all rows are in.
        func addAll() throws -> Bool {
            try eventually(within: .seconds(60)) {
                _ = try rollups.add()
                return try raw(counted: true) == raw()
            }
        }
    }

    /// With the newest transaction as the watermark, as an id or a time would be one, the late row is lost: the second case shows that this test
    /// would see it.
    @Test(arguments: [true, false])
    func aRowThatIsCommittedLateIsNeverSkipped(isSnapshot: Bool) async throws {
        try await onThread {
            let bench = try Bench()
            if !isSnapshot {
                try bench.database.connect().execute(
                    "CREATE OR REPLACE FUNCTION usage_horizon() RETURNS xid8 LANGUAGE sql AS 'SELECT pg_snapshot_xmax(pg_current_snapshot())'"
                )
            }
            let (late, early) = (try bench.database.connect(), try bench.database.connect())
            try late.execute("BEGIN")
            try bench.insert(1, on: late)
            try bench.insert(2, on: early)
            _ = try bench.rollups.add()
            // What is past a transaction that is still under way waits for it.
            #expect(try bench.kept().requests == (isSnapshot ? 0 : 1))
            try late.execute("COMMIT")
            try bench.insert(3, on: early)
            if isSnapshot {
                #expect(try bench.addAll())
                #expect(try bench.kept() == bench.raw() && bench.kept().requests == 3)
                let before = try bench.everything()
                _ = try bench.rollups.add()
                #expect(try bench.everything() == before)
            } else {
                _ = try bench.rollups.add()
                #expect(try bench.kept().requests == 2)
            }
        }
    }

    @Test func manyCommittersAndWorkersAddEachRowOnce() async throws {
        try await onThread {
            let bench = try Bench()
            let isDone = Monitor(false)
            onThreads(12) { thread in
                do {
                    if thread >= 8 {
                        while !isDone.withLock({ $0 }) {
                            _ = try bench.rollups.add()
                            usleep(2_000)
                        }
                        return
                    }
                    let connection = try bench.database.connect()
                    for number in 0..<60 {
                        try connection.transaction {
                            try bench.insert(thread * 1_000 + number, slug: "ep-\(number % 3)", on: connection)
                            // Some commit long after others that began later.
                            usleep(UInt32.random(in: 0...8_000))
                        }
                    }
                    if thread == 0 {
                        _ = try eventually(within: .seconds(60)) { try bench.raw().requests == 480 }
                        isDone.withLock { $0 = true }
                    }
                } catch { Issue.record(error) }
            }
            #expect(try bench.addAll())
            #expect(try bench.kept() == bench.raw() && bench.kept().requests == 480)
            #expect(try bench.rollups.recompute(bench.today, today: bench.today) == [])
        }
    }

    @Test func aRollupHasTheCountsTimesAndErrorsOfItsRows() async throws {
        try await onThread {
            let bench = try Bench()
            let connection = try bench.database.connect()
            for number in 1...70 { try bench.insert(number, on: connection) }
            #expect(try bench.addAll())
            // In two parts, so that both ways of writing are seen.
            for number in 71...100 { try bench.insert(number, on: connection) }
            #expect(try bench.addAll())
            let row = try connection.query(
                "SELECT *, day::text AS day_text, extract(epoch FROM first_event_at)::bigint AS first FROM daily_usage_rollups")[0]
            #expect(try row.get("day_text") == bench.today.description)
            #expect(try row.get("errors_client") == 14 && row.get("errors_agent") == 0)
            #expect(try row.get("cached_tokens") == 500 && row.get("first") == bench.today.start + 43_200)
            let histogram = UsageHistogram(try row.get("latency_hist"))
            let firstTokens = UsageHistogram(try row.get("ttft_hist"))
            #expect(histogram.total == 100 && firstTokens.total == 0)
            let median = try #require(histogram.quantile(0.5))
            #expect((46...55).contains(median), "\(median)")
        }
    }

    @Test func theRecomputationReplacesWhatIsWrongAndNothingElse() async throws {
        try await onThread {
            let bench = try Bench()
            let connection = try bench.database.connect()
            for number in 1...10 { try bench.insert(number, slug: number <= 5 ? "a" : "b", on: connection) }
            #expect(try bench.addAll())
            let right = try bench.everything()
            #expect(try bench.rollups.recompute(bench.today, today: bench.today) == [])
            #expect(try bench.everything() == right)
            try connection.execute(
                """
                UPDATE daily_usage_rollups SET requests = 4, cost_nano = 0 WHERE endpoint_slug = 'a';
                DELETE FROM daily_usage_rollups WHERE endpoint_slug = 'b';
                INSERT INTO daily_usage_rollups SELECT project_id, day, 'ghost', model_name, surface, service_tier, api_key_id, is_xim, 9, 0, 0, 0, 0,
                    0, 9, '', '', NULL, NULL, 1, now() FROM daily_usage_rollups
                """)
            // A row past the watermark stays out: it is still to be added.
            let open = try bench.database.connect()
            try open.execute("BEGIN; SELECT pg_current_xact_id()")
            try bench.insert(11, slug: "a", on: connection)
            let found = try #require(try bench.rollups.recompute(bench.today, today: bench.today))
            #expect(found.count == 3 && found.filter { $0.before == nil }.count == 1 && found.filter { $0.after == nil }.count == 1)
            #expect(found.contains { $0.description.contains("4 requests, 50 + 100 tokens, 0 nano-USD became 5 requests") }, "\(found)")
            try open.execute("COMMIT")
            #expect(try bench.kept().requests == 10)
            #expect(try bench.kept().revisions == 1)
            #expect(try bench.addAll())
            #expect(try bench.kept().requests == 11)
            #expect(throws: UsageRollupError.rowsAreGone(bench.today.days(before: 91))) {
                try bench.rollups.recompute(bench.today.days(before: 91), today: bench.today)
            }
        }
    }

    @Test func aDatabaseThatWasRestoredFromADumpIsNotCountedWrongly() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.insert(1, on: bench.database.connect())
            try bench.database.connect().execute("UPDATE usage_progress SET watermark = '9000000000000'")
            #expect {
                try bench.rollups.add()
            } throws: { "\($0)".contains("--restart") }
            #expect(try bench.rollups.restart(today: bench.today)?.count == 1)
            #expect(try bench.kept() == bench.raw(counted: true) && bench.kept().requests == 1)
            try bench.insert(2, on: bench.database.connect())
            #expect(try bench.addAll())
            #expect(try bench.kept() == bench.raw() && bench.kept().requests == 2)
        }
    }

    @Test func requestsRollupsAndLedgerAgreeOnAClosedDay() async throws {
        try await onThread {
            let bench = try Bench(cash: 100, promo: 50)
            let yesterday = bench.today.days(before: 1)
            let (lease, _) = try bench.money.hold(120, key: "a")
            // What a lease, promotional credit, cash and nobody pays for; and a request that began yesterday and is settled today.
            let costs: [Int64] = [40, 50, 0, 60, 7]
            try bench.money.settle(
                costs.enumerated().map { number, cost in
                    var event = bench.money.event(number + 1, cost: cost)
                    event.createdAtMicroseconds = Int64(yesterday.end) * 1_000_000 - 1 - Int64(number)
                    return event.commitRow(hold: number < 3 ? lease : nil, held: number < 3 ? 60 : 0)
                })
            #expect(try bench.addAll())
            let oldest = UsageRollups.oldestDay(today: bench.today)
            func reconcile() throws -> UsageRollups.Reconciliation {
                try bench.rollups.reconcile(from: oldest, through: yesterday, today: bench.today)
            }
            let sound = try reconcile()
            #expect(sound.mismatches == [] && sound.compared == 1)
            #expect(try bench.money.platform("write_off") < 0)
            let settings = ["XEROTIER_DATABASE_URL": bench.database.url]
            let verified = try Program.billing.run(["verify"], settings)
            #expect(verified.status == 0 && verified.output.contains("1 days of projects compared"), "\(verified)")
            // One nano too much is seen, wherever it is.
            try bench.database.connect().execute("UPDATE daily_usage_rollups SET cost_nano = cost_nano + 1")
            #expect(try reconcile().mismatches.map { [$0.requests, $0.rollups, $0.ledger] } == [[157, 158, 157]])
            let broken = try Program.billing.run(["verify", "--day", yesterday.description], settings)
            #expect(broken.status == 1 && broken.output.contains("usage does not add up: \(yesterday) \(bench.money.project)"), "\(broken)")
            #expect(try bench.rollups.recompute(yesterday, today: bench.today)?.count == 1)
            #expect(try reconcile().mismatches == [])
            try bench.database.connect().execute("UPDATE usage_events SET ledger_tx_id = NULL WHERE cost_nano = 50")
            #expect(try reconcile().mismatches.map(\.ledger) == [107])
        }
    }
}
