import OpenAI
import Postgres
import Tenancy

/// What is done once each night, from 02:00 UTC on.
public struct UsageNight: Sendable {
    public let rollups: UsageRollups

    public init(rollups: UsageRollups) { self.rollups = rollups }

    public struct Report: Sendable {
        public var differences: [UsageRollups.Difference] = []
        public var reconciliation = UsageRollups.Reconciliation(mismatches: [], compared: 0)
        public var droppedPartitions: [String] = []
        public var deletedRows = 0
    }

    /// A partition is made or dropped under a lock that all settlements wait for; sooner than let them wait for longer, it is tried again.
    private static let lockMilliseconds = 1_000
    /// 16 MiB.
    private static let blocks = 2_048
    private static let startHour = 2
    private static let monthsAhead = 12

    /// Whether this night's work is still to be done.
    /// - Parameter now: unix seconds.
    public func isDue(now: Int) throws -> Bool {
        let today = UTCDay(second: now)
        guard now - today.start >= Self.startHour * 3_600 else { return false }
        return try rollups.database.withConnection { connection in
            try connection.query(
                "SELECT coalesce(recomputed_on < \(today.description)::date, true) AS due FROM usage_progress")[0].get("due")
        }
    }

    /// Does it. It may stop anywhere: what was done stays, and the rest comes with the next call.
    public func run(now: Int) throws -> Report? {
        let today = UTCDay(second: now)
        var report = Report()
        // First of all, so that no row waits in the default partition.
        _ = try alone { try $0.query("SELECT create_usage_partitions(now(), \(Self.monthsAhead)::integer)") }
        for day in [today.days(before: 2), today.days(before: 1)] {
            guard let found = try rollups.recompute(day, today: today) else { return nil }
            report.differences += found
        }
        report.reconciliation = try rollups.reconcile(from: today.days(before: 2), through: today.days(before: 1), today: today)
        let oldest = UsageRollups.oldestDay(today: today)
        report.droppedPartitions = try alone { connection in
            try connection.query("SELECT drop_usage_partitions(to_timestamp(\(oldest.start))) AS name").map { try $0.get("name") }
        }
        report.deletedRows = try deleteRows(before: oldest)
        _ = try rollups.database.withConnection {
            try $0.query("UPDATE usage_progress SET recomputed_on = \(today.description)::date")
        }
        return report
    }

    private func alone<Value>(_ body: (SystemConnection) throws -> Value) throws -> Value {
        try rollups.database.transaction { connection in
            try connection.query("SELECT set_config('lock_timeout', \(String(Self.lockMilliseconds)), true)")
            return try body(connection)
        }
    }

    /// From partitions that hold older rows beside others, some blocks in a transaction.
    private func deleteRows(before oldest: UTCDay) throws -> Int {
        var deleted = 0
        for partition in ["usage_events_\(oldest.description.prefix(7).replacing("-", with: "_"))", "usage_events_default"] {
            guard try exists(partition) else { continue }
            var block = 0
            var isEnd = false
            while !isEnd {
                let row = try rollups.database.withConnection { connection in
                    try connection.query(
                        """
                        SELECT deleted, is_end
                        FROM delete_usage_events(\(partition), to_timestamp(\(oldest.start)), \(block)::bigint, \(Self.blocks)::integer)
                        """)[0]
                }
                deleted += try row.get("deleted", as: Int.self)
                isEnd = try row.get("is_end")
                block += Self.blocks
            }
        }
        return deleted
    }

    private func exists(_ partition: String) throws -> Bool {
        try rollups.database.withConnection {
            try $0.query("SELECT to_regclass(\(partition)) IS NOT NULL AS is_there")[0].get("is_there")
        }
    }
}
