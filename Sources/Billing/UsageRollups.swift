import OpenAI
import Postgres
import Tenancy

/// Keeps `daily_usage_rollups` (08 §5.2). Every row of usage_events is added exactly once: the transaction that adds rows also moves the watermark
/// past the transactions that brought them. One worker works at a time; the others find that it does.
public struct UsageRollups: Sendable {
    let database: SystemDatabase

    /// - Parameter database: should allow a statement minutes: the first run after a long pause has much to add.
    public init(database: SystemDatabase) { self.database = database }

    /// What one run added.
    public struct Added: Sendable, Equatable {
        /// How many rows of daily_usage_rollups it made or changed.
        public var rollups: Int
        /// The transaction before which every usage row is now in the rollups.
        public var watermark: String
    }

    /// Amounts that a recomputation found to be others than those that were kept.
    public struct Difference: Sendable, Equatable, CustomStringConvertible {
        public var project: String
        public var day: String
        /// The other columns of the key.
        public var key: String
        /// Requests, tokens and nano-USD; nil = there was, or is, no such row.
        public var before: String?
        public var after: String?

        public var description: String { "\(day) \(project) (\(key)): \(before ?? "nothing") became \(after ?? "nothing")" }
    }

    /// Any number that nobody else in the database locks.
    package static let lock = 7_216_053_294_119

    /// Adds the rows of all transactions that have ended, as far as no older one is still under way, and notes on endpoints when they were last
    /// asked. nil = another worker is at it.
    public func add() throws -> Added? {
        try database.transaction { connection in
            guard let mark = try connection.lockUsageProgress() else { return nil }
            let next: Int64 = try connection.query("SELECT usage_horizon()::text AS next")[0].get("next")
            guard next >= mark else { throw UsageRollupError.foreignWatermark(mark, next: next) }
            guard next > mark else { return Added(rollups: 0, watermark: String(mark)) }
            let changed = try connection.addUsage(from: mark, before: next)
            try connection.query("UPDATE usage_progress SET watermark = \(String(next))::xid8")
            return Added(rollups: changed, watermark: String(next))
        }
    }

    /// Sums a day's rows anew, and replaces what is kept where that differs. Rows past the watermark are left to `add`. nil = another worker is at it.
    /// - Throws: `UsageRollupError.rowsAreGone` for days whose rows are not all there any more.
    public func recompute(_ day: UTCDay, today: UTCDay) throws -> [Difference]? {
        guard day >= Self.oldestDay(today: today) else { throw UsageRollupError.rowsAreGone(day) }
        return try database.transaction { connection in
            guard let mark = try connection.lockUsageProgress() else { return nil }
            return try connection.recomputeUsage(of: day, before: mark)
        }
    }

    /// Sums all days anew whose rows are all kept, and begins to count transactions from where the database is. For one that was filled from a dump;
    /// settlements wait meanwhile. nil = another worker is at it.
    public func restart(today: UTCDay) throws -> [Difference]? {
        try database.transaction { connection in
            guard try connection.lockUsageProgress() != nil else { return nil }
            try connection.query("SELECT restart_usage_rollups()")
            guard let mark = try connection.lockUsageProgress() else { return nil }
            let oldest = Self.oldestDay(today: today)
            return try (oldest.number...today.number).flatMap { number in
                try connection.recomputeUsage(of: UTCDay(number: number), before: mark)
            }
        }
    }

    /// The first day whose rows are all kept. Rows live for 90 days after it.
    public static func oldestDay(today: UTCDay) -> UTCDay { today.days(before: retentionDays) }
    static let retentionDays = 90
}

public enum UsageRollupError: Error, Equatable, CustomStringConvertible {
    /// The database counts its transactions from a lower number than it once did: it was filled from a dump.
    case foreignWatermark(Int64, next: Int64)
    case rowsAreGone(UTCDay)

    public var description: String {
        switch self {
        case .foreignWatermark(let mark, let next):
            "The rollups are at transaction \(mark), which this database has not reached (\(next)): was it restored from a dump? "
                + "Run `billing rollup --restart`."
        case .rowsAreGone(let day): "The usage rows of \(day) are not all there any more: rows are kept for 90 days."
        }
    }
}

extension SystemConnection {
    /// The watermark, for this transaction alone; nil when another one has it.
    fileprivate func lockUsageProgress() throws -> Int64? {
        guard try query("SELECT pg_try_advisory_xact_lock(\(UsageRollups.lock)) AS locked")[0].get("locked") else { return nil }
        return try query("SELECT watermark::text AS watermark FROM usage_progress")[0].get("watermark")
    }

    /// Adds the rows of the transactions `from` to `before`, all of which have ended; answers how many rollups that changed.
    fileprivate func addUsage(from: Int64, before: Int64) throws -> Int {
        let sums = UsageRollupSQL.amounts.map { "\($0) = kept.\($0) + excluded.\($0)" }.joined(separator: ", ")
        return try query(
            """
            WITH event AS (
                SELECT \(trusted: UsageRollupSQL.columns) FROM usage_events
                WHERE xid >= \(String(from))::xid8 AND xid < \(String(before))::xid8)
            \(trusted: UsageRollupSQL.fresh)
            , added AS (
                INSERT INTO daily_usage_rollups AS kept (\(trusted: UsageRollupSQL.allColumns), updated_at)
                SELECT \(trusted: UsageRollupSQL.allColumns), now() FROM fresh
                ON CONFLICT (\(trusted: UsageRollupSQL.keyColumns)) DO UPDATE SET \(trusted: sums),
                    latency_hist = usage_histogram(kept.latency_hist || excluded.latency_hist),
                    ttft_hist = usage_histogram(kept.ttft_hist || excluded.ttft_hist),
                    first_event_at = least(kept.first_event_at, excluded.first_event_at),
                    last_event_at = greatest(kept.last_event_at, excluded.last_event_at), updated_at = now()
                RETURNING 1),
            latest AS (
                SELECT project_id, endpoint_slug, max(last_event_at) AS at FROM fresh GROUP BY project_id, endpoint_slug),
            seen AS (
                UPDATE endpoints e SET last_request_at = latest.at FROM latest
                WHERE e.project_id = latest.project_id AND e.slug = latest.endpoint_slug AND e.deleted_at IS NULL
                    AND latest.at > greatest(e.last_request_at, e.created_at))
            SELECT count(*) AS changed FROM added
            """)[0].get("changed")
    }

    fileprivate func recomputeUsage(of day: UTCDay, before mark: Int64) throws -> [UsageRollups.Difference] {
        let shown = { (table: String) in
            "\(table).requests || ' requests, ' || \(table).input_tokens || ' + ' || \(table).output_tokens || ' tokens, ' || \(table).cost_nano || ' nano-USD'"
        }
        let differences = try query(
            """
            WITH event AS (\(trusted: Self.eventsOfDay) created_at >= to_timestamp(\(day.start)) AND created_at < to_timestamp(\(day.end))
                AND xid < \(String(mark))::xid8)
            \(trusted: UsageRollupSQL.fresh)
            SELECT project_id, day::text, concat_ws(' ', endpoint_slug, model_name, surface, service_tier, api_key_id) AS key,
                \(trusted: shown("kept")) AS before, \(trusted: shown("fresh")) AS after
            FROM fresh FULL JOIN (SELECT * FROM daily_usage_rollups WHERE day = \(day.description)::date) kept
                USING (\(trusted: UsageRollupSQL.keyColumns))
            WHERE (\(trusted: UsageRollupSQL.measures(of: "kept"))) IS DISTINCT FROM (\(trusted: UsageRollupSQL.measures(of: "fresh")))
            """
        ).map { row in
            UsageRollups.Difference(
                project: try row.get("project_id"), day: try row.get("day"), key: try row.get("key"), before: try row.optional("before"),
                after: try row.optional("after"))
        }
        if !differences.isEmpty { try replaceUsage(of: day, before: mark) }
        return differences
    }

    private func replaceUsage(of day: UTCDay, before mark: Int64) throws {
        let replaced = UsageRollupSQL.measures.map { "\($0) = excluded.\($0)" }.joined(separator: ", ")
        try query(
            """
            WITH event AS (\(trusted: Self.eventsOfDay) created_at >= to_timestamp(\(day.start)) AND created_at < to_timestamp(\(day.end))
                AND xid < \(String(mark))::xid8)
            \(trusted: UsageRollupSQL.fresh)
            , gone AS (
                DELETE FROM daily_usage_rollups kept WHERE day = \(day.description)::date AND NOT EXISTS (
                    SELECT FROM fresh WHERE (\(trusted: UsageRollupSQL.key(of: "fresh"))) = (\(trusted: UsageRollupSQL.key(of: "kept")))))
            INSERT INTO daily_usage_rollups AS kept (\(trusted: UsageRollupSQL.allColumns), updated_at)
            SELECT \(trusted: UsageRollupSQL.allColumns), now() FROM fresh
            ON CONFLICT (\(trusted: UsageRollupSQL.keyColumns)) DO UPDATE SET \(trusted: replaced), revision = kept.revision + 1, updated_at = now()
            WHERE (\(trusted: UsageRollupSQL.measures(of: "kept"))) IS DISTINCT FROM (\(trusted: UsageRollupSQL.measures(of: "excluded")))
            """)
    }

    private static let eventsOfDay = "SELECT \(UsageRollupSQL.columns) FROM usage_events WHERE"
}
