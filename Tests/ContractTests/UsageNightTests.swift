import Billing
import Foundation
import OpenAI
import Postgres
import Testing

/// What is done once a night: partitions, recomputation, the end of old rows.
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct UsageNightTests {
    private static func partitions(_ database: TestDatabase) throws -> Set<String> {
        Set(
            try database.connect().query(
                "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'usage_events'::regclass"
            ).map { try $0.get("relname") })
    }

    @Test func rowsEndAfterNinetyDaysAndTheirRollupsStay() async throws {
        try await onThread {
            let bench = try UsageRollupTests.Bench()
            let night = UsageNight(rollups: bench.rollups)
            let connection = try bench.database.connect()
            let oldest = UsageRollups.oldestDay(today: bench.today)
            try connection.query("SELECT create_usage_partitions(to_timestamp(\(oldest.days(before: 70).start)), 6)")
            for day in [60, 31, 1] { try bench.insert(day, day: oldest.days(before: day), on: connection) }
            try bench.insert(100, day: oldest, on: connection)
            try bench.insert(101, on: connection)
            // Far outside all months.
            try connection.query("UPDATE usage_events SET created_at = '1971-01-01' WHERE request_id LIKE '%31'")
            let gone = "usage_events_" + oldest.days(before: 60).description.prefix(7).replacing("-", with: "_")
            #expect(try Self.partitions(bench.database).contains(gone))
            let now = bench.today.start + 2 * 3_600
            // What is not yet in the rollups is not given up.
            let early = try #require(try night.run(now: now))
            #expect(early.deletedRows == 0 && !early.droppedPartitions.contains(gone))
            #expect(try bench.raw().requests == 5)
            #expect(try bench.addAll())
            let report = try #require(try night.run(now: now))
            #expect(report.droppedPartitions.contains(gone) && report.differences == [])
            #expect(try Self.partitions(bench.database).contains(gone) == false)
            let left = try connection.query("SELECT right(request_id, 3) AS number FROM usage_events ORDER BY created_at")
            #expect(try left.map { try $0.get("number", as: String.self) } == ["100", "101"])
            #expect(report.deletedRows >= 1)
            #expect(try bench.kept().requests == 5)
        }
    }

    @Test func itIsDueOnceADayFromTwoOClock() async throws {
        try await onThread {
            let bench = try UsageRollupTests.Bench()
            let night = UsageNight(rollups: bench.rollups)
            let two = bench.today.start + 2 * 3_600
            #expect(try !night.isDue(now: two - 1) && night.isDue(now: two) && night.isDue(now: bench.today.end - 1))
            _ = try night.run(now: two)
            #expect(try !night.isDue(now: two) && !night.isDue(now: bench.today.end + 7_199))
            #expect(try night.isDue(now: bench.today.end + 7_200))
        }
    }

    @Test func theWorkerMakesTheMonthsAheadWithoutOwningThem() async throws {
        try await onThread {
            let bench = try UsageRollupTests.Bench()
            // The template has this month and the next.
            let before = try Self.partitions(bench.database)
            let report = try #require(try UsageNight(rollups: bench.rollups).run(now: bench.today.start + 9 * 3_600))
            #expect(report.droppedPartitions == [])
            let added = try Self.partitions(bench.database).subtracting(before)
            #expect(added.count == 11, "\(added)")
            let connection = try bench.database.connect()
            let name = try #require(added.max())
            let isWalled: Bool = try connection.query("SELECT relrowsecurity FROM pg_class WHERE relname = \(name)")[0].get(
                "relrowsecurity")
            #expect(isWalled)
        }
    }

    @Test func theDaysBeforeAreRecomputed() async throws {
        try await onThread {
            let bench = try UsageRollupTests.Bench()
            let connection = try bench.database.connect()
            for day in 0...3 { try bench.insert(day + 1, day: bench.today.days(before: day), on: connection) }
            #expect(try bench.addAll())
            try connection.execute("UPDATE daily_usage_rollups SET requests = 7")
            let report = try #require(try UsageNight(rollups: bench.rollups).run(now: bench.today.start + 7_200))
            #expect(report.differences.map(\.day) == [bench.today.days(before: 2).description, bench.today.days(before: 1).description])
            // Nothing was settled for these rows, and that is seen.
            #expect(report.reconciliation.mismatches.count == 2)
            #expect(try bench.kept().requests == 7 + 1 + 1 + 7)
        }
    }
}
