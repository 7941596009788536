import Billing
import Foundation
import Postgres
import Testing

/// `billing rollup` is stopped at each of its statements and killed there: afterwards the rollups are the sums of the rows below the watermark, and
/// the next run adds what is missing.
@Suite(.serialized, .enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct UsageRollupKillTests {
    /// Where it is made to wait. What a test's session holds is a lock that no transaction number belongs to, or the watermark would wait, too.
    enum Stop: String, CaseIterable, Sendable {
        case readingTheWatermark, readingTheSnapshot, readingTheRows, writingARollup, movingTheWatermark, committing

        var sql: String {
            switch self {
            case .readingTheWatermark: "BEGIN; LOCK TABLE usage_progress IN ACCESS EXCLUSIVE MODE"
            case .readingTheSnapshot:
                """
                CREATE OR REPLACE FUNCTION usage_horizon() RETURNS xid8 LANGUAGE plpgsql AS
                    'BEGIN PERFORM stop_here(); RETURN pg_snapshot_xmin(pg_current_snapshot()); END'
                """
            case .readingTheRows: "BEGIN; LOCK TABLE usage_events IN ACCESS EXCLUSIVE MODE"
            // Not the first: some rows are written by then.
            case .writingARollup:
                """
                CREATE TRIGGER stop BEFORE INSERT ON daily_usage_rollups FOR EACH ROW WHEN (NEW.endpoint_slug = 'ep-2')
                    EXECUTE FUNCTION stop_trigger()
                """
            case .movingTheWatermark:
                "CREATE TRIGGER stop BEFORE UPDATE ON usage_progress FOR EACH STATEMENT EXECUTE FUNCTION stop_trigger()"
            case .committing:
                """
                CREATE CONSTRAINT TRIGGER stop AFTER UPDATE ON usage_progress DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                    EXECUTE FUNCTION stop_trigger()
                """
            }
        }
    }

    private static let waiting: SQL = """
        SELECT count(*) AS waiting FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'billing' AND wait_event_type = 'Lock'
        """

    @Test(arguments: Stop.allCases, [true, false])
    func sumsEqualTheRowsWhereverItIsKilled(stop: Stop, bySignal: Bool) async throws {
        try await onThread {
            let bench = try UsageRollupTests.Bench()
            let connection = try bench.database.connect()
            for number in 1...12 { try bench.insert(number, slug: "ep-\(number % 4)", on: connection) }
            #expect(try bench.addAll())
            for number in 13...24 { try bench.insert(number, slug: "ep-\(number % 4)", on: connection) }

            // Else there would be nothing to stop at.
            #expect(
                try eventually(within: .seconds(60)) {
                    try connection.query("SELECT usage_horizon() > max(xid) AS passed FROM usage_events")[0].get("passed")
                })

            let gate = try bench.database.connect()
            try gate.execute(
                """
                CREATE FUNCTION stop_here() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(4242); END';
                CREATE FUNCTION stop_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM stop_here(); RETURN NEW; END';
                """)
            try gate.execute("SELECT pg_advisory_lock(4242)")
            try gate.execute(stop.sql)
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "\(PostgresServer.repository)/.build/release/billing")
            process.arguments = ["rollup"]
            process.environment = ["XEROTIER_DATABASE_URL": bench.database.url]
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            // For `waiting`: the lock of a test is on the tables that `connection` reads.
            let observer = try bench.database.connect()
            try process.run()
            #expect(try eventually(within: .seconds(30)) { try observer.query(Self.waiting)[0].get("waiting") == 1 }, "\(stop)")
            if bySignal {
                kill(process.processIdentifier, SIGKILL)
            } else {
                try observer.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'billing'"
                )
            }
            process.waitUntilExit()
            #expect(process.terminationStatus != 0 || process.terminationReason == .uncaughtSignal)
            // Its session, if it lives, goes on to the end of its statement.
            try gate.execute("ROLLBACK; SELECT pg_advisory_unlock(4242)")
            #expect(
                try eventually(within: .seconds(30)) {
                    try observer.query(
                        "SELECT count(*) AS there FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'billing'"
                    )[0]
                    .get("there") == 0
                })
            #expect(try bench.kept() == bench.raw(counted: true), "\(stop)")
            if stop != .committing || !bySignal { #expect(try bench.kept().requests == 12) }

            #expect(try bench.addAll())
            #expect(try bench.kept() == bench.raw() && bench.kept().requests == 24)
            #expect(try bench.rollups.recompute(bench.today, today: bench.today) == [])
        }
    }
}
