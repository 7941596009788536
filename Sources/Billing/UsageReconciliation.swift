import OpenAI
import Postgres
import Tenancy

extension UsageRollups {
    /// A project's day on which three sums are not the same, in nano-USD.
    public struct Mismatch: Sendable, Equatable, CustomStringConvertible {
        public var project: String
        public var day: String
        /// What the requests cost.
        public var requests: Int64
        /// What the rollups say.
        public var rollups: Int64
        /// What the requests' settlements credited to `revenue`.
        public var ledger: Int64

        public var description: String {
            "\(day) \(project): requests cost \(requests), rollups say \(rollups), the ledger took \(ledger) nano-USD"
        }
    }

    public struct Reconciliation: Sendable, Equatable {
        public var mismatches: [Mismatch]
        /// How many days of how many projects were compared.
        public var compared: Int
    }

    /// Compares, for each project and each day from `first` to `last`, what requests cost with the rollups and the ledger, to the nano.
    ///
    /// A day's requests are those that began on it, and what the ledger took for it is what their settlements credited to `revenue`, whoever paid:
    /// cash, promotional credit, or the platform itself (`write_off`). A request that began before midnight and was settled after it so belongs to
    /// one day in all three. Requests past the watermark are in none of the three. Days whose rows are not all kept are left out.
    public func reconcile(from first: UTCDay, through last: UTCDay, today: UTCDay) throws -> Reconciliation {
        let first = max(first, Self.oldestDay(today: today))
        return try database.withConnection { connection in
            let rows = try connection.query(
                """
                WITH event AS (
                    SELECT project_id, (created_at AT TIME ZONE 'UTC')::date AS day, cost_nano, ledger_tx_id,
                        -- There were rows before there was a ledger.
                        ledger_tx_id IS NULL AND created_at < (SELECT min(created_at) FROM ledger_accounts) AS is_older
                    FROM usage_events
                    WHERE created_at >= to_timestamp(\(first.start)) AND created_at < to_timestamp(\(last.end))
                        AND xid < (SELECT watermark FROM usage_progress)
                ), taken AS (
                    SELECT e.tx_id, sum(e.amount_nano) AS nano FROM ledger_entries e
                    JOIN ledger_accounts a ON a.id = e.account_id AND a.kind = 'revenue'
                    WHERE e.tx_id IN (SELECT ledger_tx_id FROM event)
                    GROUP BY e.tx_id
                ), requested AS (
                    SELECT project_id, day, sum(cost_nano) AS requests,
                        sum(CASE WHEN is_older THEN cost_nano ELSE coalesce(nano, 0) END) AS ledger
                    FROM event LEFT JOIN taken ON tx_id = ledger_tx_id
                    GROUP BY project_id, day
                ), rolled AS (
                    SELECT project_id, day, sum(cost_nano) AS rollups FROM daily_usage_rollups
                    WHERE day BETWEEN \(first.description)::date AND \(last.description)::date
                    GROUP BY project_id, day
                )
                SELECT project_id, day::text, coalesce(requests, 0)::bigint AS requests, coalesce(rollups, 0)::bigint AS rollups,
                    coalesce(ledger, 0)::bigint AS ledger
                FROM requested FULL JOIN rolled USING (project_id, day)
                ORDER BY day, project_id
                """)
            let compared = try rows.map { row in
                Mismatch(
                    project: try row.get("project_id"), day: try row.get("day"), requests: try row.get("requests"),
                    rollups: try row.get("rollups"), ledger: try row.get("ledger"))
            }
            return Reconciliation(
                mismatches: compared.filter { $0.requests != $0.rollups || $0.requests != $0.ledger }, compared: compared.count)
        }
    }
}
