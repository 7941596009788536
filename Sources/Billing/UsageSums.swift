import OpenAI
import Postgres
import Server
import Tenancy

/// What some requests sum to.
struct UsageSums: Sendable {
    var requests: Int
    /// The client's faults, and those of policies it hit; the faults of workers and of ours.
    var errorsClient: Int
    var errorsAgent: Int
    var inputTokens: Int
    var outputTokens: Int
    var cachedTokens: Int
    /// Nano-USD.
    var cost: Int64
    /// How much more it would have cost if no prompt token had been found in a cache, to 1 nano-USD for each rollup: all tokens of a rollup are
    /// taken as having had one price. Tokens of the cache cost a quarter (01 §6).
    var saved: Int64
    var latency: UsageHistogram
    var timeToFirstToken: UsageHistogram

    init(_ row: Row) throws {
        requests = try row.get("requests")
        errorsClient = try row.get("errors_client")
        errorsAgent = try row.get("errors_agent")
        inputTokens = try row.get("input_tokens")
        outputTokens = try row.get("output_tokens")
        cachedTokens = try row.get("cached_tokens")
        cost = try row.get("cost_nano")
        saved = try row.get("saved_nano")
        latency = UsageHistogram(try row.get("latency_hist"))
        timeToFirstToken = UsageHistogram(try row.get("ttft_hist"))
    }

    /// Columns of an item that has sums: those about counts and those about times.
    static func counts<Item>(_ sums: @escaping @Sendable (Item) -> UsageSums) -> [UsageColumn<Item>] {
        [
            UsageColumn("requests") { .integer(sums($0).requests) },
            UsageColumn("errors_client") { .integer(sums($0).errorsClient) },
            UsageColumn("errors_agent") { .integer(sums($0).errorsAgent) },
            UsageColumn("input_tokens") { .integer(sums($0).inputTokens) },
            UsageColumn("output_tokens") { .integer(sums($0).outputTokens) },
            UsageColumn("cached_tokens") { .integer(sums($0).cachedTokens) },
            UsageColumn("total_tokens") { .integer(sums($0).inputTokens + sums($0).outputTokens) },
        ]
    }

    static func times<Item>(_ sums: @escaping @Sendable (Item) -> UsageSums) -> [UsageColumn<Item>] {
        [
            UsageColumn("latency_p50_ms") { .integer(sums($0).latency.quantile(0.5)) },
            UsageColumn("latency_p95_ms") { .integer(sums($0).latency.quantile(0.95)) },
            UsageColumn("latency_p99_ms") { .integer(sums($0).latency.quantile(0.99)) },
            UsageColumn("ttft_p50_ms") { .integer(sums($0).timeToFirstToken.quantile(0.5)) },
            UsageColumn("ttft_p95_ms") { .integer(sums($0).timeToFirstToken.quantile(0.95)) },
            UsageColumn("ttft_p99_ms") { .integer(sums($0).timeToFirstToken.quantile(0.99)) },
        ]
    }
}

/// By what the days are told apart further.
enum UsageGroup: String, CaseIterable, Sendable {
    case day, endpoint, model, key, surface
    case serviceTier = "service_tier"

    init(_ query: Query) throws {
        guard let text = query["group_by"] else {
            self = .day
            return
        }
        guard let group = UsageGroup(rawValue: text) else {
            throw APIError.invalid("group_by", "'group_by' must be one of \(Self.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        self = group
    }

    /// The column of daily_usage_rollups.
    var column: String {
        switch self {
        case .day: "''::text"
        case .endpoint: "endpoint_slug"
        case .model: "model_name"
        case .key: "api_key_id"
        case .surface: "surface"
        case .serviceTier: "service_tier"
        }
    }
}

/// One line of `/daily`.
struct UsageDay: Sendable {
    var day: String
    /// Of the group; empty where the requests had none, such as no endpoint.
    var label: String
    /// Of the endpoint with that slug.
    var endpointStatus: String?
    var sums: UsageSums

    /// `2026-11-25`, or with the label `2026-11-25:my-endpoint`.
    func id(_ group: UsageGroup) -> String { group == .day ? day : "\(day):\(label)" }

    static func table(_ group: UsageGroup) -> UsageTable<UsageDay> {
        var columns: [UsageColumn<UsageDay>] = [
            UsageColumn("id") { .text($0.id(group)) }, UsageColumn("day") { .text($0.day) },
        ]
        if group != .day {
            columns.append(UsageColumn(group == .key ? "api_key_id" : group.rawValue) { .text($0.label.isEmpty ? nil : $0.label) })
        }
        if group == .endpoint { columns.append(UsageColumn("endpoint_status") { .text($0.endpointStatus) }) }
        columns += UsageSums.counts { $0.sums }
        columns.append(UsageColumn("cost") { .dollars($0.sums.cost) })
        columns += UsageSums.times { $0.sums }
        return UsageTable(object: "usage.day", columns: columns)
    }
}

extension TenantConnection {
    /// Every request that began in `span`, whether it is in the rollups or not.
    /// - Parameter endpoint: only those of this endpoint; nil = of all.
    func usage(_ span: UsageSpan, endpoint: String?) throws -> UsageSums {
        try UsageSums(
            query(
                """
                WITH event AS (
                    SELECT \(trusted: UsageRollupSQL.columns)
                    FROM usage_events_past_watermark(\(project), to_timestamp(\(span.firstDay.start)), to_timestamp(\(span.endDay.start)))
                    WHERE (\(endpoint)::text IS NULL OR endpoint_slug = \(endpoint))
                    UNION ALL
                    SELECT \(trusted: UsageRollupSQL.columns) FROM usage_events
                    WHERE project_id = \(project)
                        AND created_at >= to_timestamp(\(span.before.start)) AND created_at < to_timestamp(\(span.before.end))
                        AND (\(endpoint)::text IS NULL OR endpoint_slug = \(endpoint))
                    UNION ALL
                    SELECT \(trusted: UsageRollupSQL.columns) FROM usage_events
                    WHERE project_id = \(project)
                        AND created_at >= to_timestamp(\(span.after.start)) AND created_at < to_timestamp(\(span.after.end))
                        AND (\(endpoint)::text IS NULL OR endpoint_slug = \(endpoint)))
                \(trusted: UsageRollupSQL.fresh)
                , rollup AS (
                    SELECT \(trusted: UsageRollupSQL.allColumns) FROM daily_usage_rollups
                    WHERE project_id = \(project) AND day >= \(span.firstDay.description)::date AND day < \(span.endDay.description)::date
                        AND (\(endpoint)::text IS NULL OR endpoint_slug = \(endpoint))
                    UNION ALL SELECT \(trusted: UsageRollupSQL.allColumns) FROM fresh)
                SELECT \(trusted: UsageRollupSQL.sums) FROM rollup
                """)[0])
    }

    /// A line for each day of `range` on which there was something, and for each value of the group on it.
    func dailyUsage(_ range: UsageRange, by group: UsageGroup, endpoint: String?, _ list: ListQuery) throws -> ListPage<UsageDay> {
        let (first, end) = (UTCDay(second: range.start), UTCDay(second: range.end))
        let after = try Self.place(of: list.after, "after", group)
        let before = try Self.place(of: list.before, "before", group)
        let rows = try query(
            """
            WITH event AS (
                SELECT \(trusted: UsageRollupSQL.columns)
                FROM usage_events_past_watermark(\(project), to_timestamp(\(first.start)), to_timestamp(\(end.start)))
                WHERE (\(endpoint)::text IS NULL OR endpoint_slug = \(endpoint)))
            \(trusted: UsageRollupSQL.fresh)
            , rollup AS (
                SELECT \(trusted: UsageRollupSQL.allColumns), \(trusted: group.column) AS label FROM daily_usage_rollups
                WHERE project_id = \(project) AND day >= \(first.description)::date AND day < \(end.description)::date
                    AND (\(endpoint)::text IS NULL OR endpoint_slug = \(endpoint))
                UNION ALL SELECT \(trusted: UsageRollupSQL.allColumns), \(trusted: group.column) FROM fresh
            ), line AS (
                SELECT day, label, \(trusted: UsageRollupSQL.sums) FROM rollup
                WHERE (\(after?.day)::date IS NULL OR (day, label) \(trusted: list.afterSide) (\(after?.day)::date, \(after?.label)))
                    AND (\(before?.day)::date IS NULL OR (day, label) \(trusted: list.beforeSide) (\(before?.day)::date, \(before?.label)))
                GROUP BY day, label
                ORDER BY day \(trusted: list.direction), label \(trusted: list.direction)
                LIMIT \(list.rows))
            SELECT line.*, CASE WHEN \(group == .endpoint) AND label <> '' THEN coalesce((
                    SELECT status FROM endpoints e WHERE e.project_id = \(project) AND e.slug = label AND e.deleted_at IS NULL), 'Deleted')
                END AS endpoint_status
            FROM line ORDER BY day \(trusted: list.direction), label \(trusted: list.direction)
            """)
        return list.page(
            try rows.map { row in
                UsageDay(
                    day: try row.get("day"), label: try row.get("label"), endpointStatus: try row.optional("endpoint_status"),
                    sums: try UsageSums(row))
            })
    }

    /// When the project was made, unix seconds.
    func projectCreated() throws -> Int {
        try query("SELECT floor(extract(epoch FROM created_at))::bigint AS created FROM projects WHERE id = \(project)")[0].get("created")
    }

    private static func place(of cursor: String?, _ name: String, _ group: UsageGroup) throws -> (day: String, label: String)? {
        guard let cursor else { return nil }
        guard let day = UTCDay(String(cursor.prefix(10))), cursor.utf8.count <= 300, !cursor.utf8.contains(0) else {
            throw ListQuery.badCursor(name)
        }
        let rest = cursor.dropFirst(10)
        guard group == .day ? rest.isEmpty : rest.first == ":" else { throw ListQuery.badCursor(name) }
        return (day.description, String(rest.dropFirst()))
    }
}

extension UsageRollupSQL {
    /// What `UsageSums` reads of rows that have the columns of daily_usage_rollups.
    static let sums =
        (amounts.map { "coalesce(sum(\($0)), 0)::bigint AS \($0)" }
        + ["latency_hist", "ttft_hist"].map { "usage_histogram(coalesce(string_agg(\($0), ''::bytea), ''::bytea)) AS \($0)" } + [
            """
            coalesce(sum(round(cost_nano::numeric * 3 * cached_tokens
                / nullif(4 * input_tokens - 3 * cached_tokens + 4 * output_tokens, 0))), 0)::bigint AS saved_nano
            """
        ]).joined(separator: ", ")
}
