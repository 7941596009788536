/// The one way in which usage rows are summed by day: for adding, for recomputing, and for the rows that a reader adds to the rollups.
enum UsageRollupSQL {
    static let key = ["project_id", "day", "endpoint_slug", "model_name", "surface", "service_tier", "api_key_id", "is_xim"]
    static let amounts = ["requests", "errors_client", "errors_agent", "input_tokens", "output_tokens", "cached_tokens", "cost_nano"]
    static let measures = amounts + ["latency_hist", "ttft_hist", "first_event_at", "last_event_at"]

    /// What a query that names a CTE `event` needs of usage_events.
    static let columns = """
        project_id, created_at, endpoint_slug, model_name, surface, service_tier, api_key_id, is_xim, input_tokens, output_tokens, cached_tokens, \
        cost_nano, fault, latency_ms, ttft_ms
        """

    /// Makes the CTE `fresh`, which has the columns `key` and `measures` of daily_usage_rollups, out of the CTE `event`. To stand right behind that.
    /// Each row is counted in two sets of cells, by its latency and by its time to the first token: those by both would be too many.
    static let fresh = """
        , cell AS (
            SELECT \(keyColumns), latency, ttft, grouping(latency) = 0 AS is_latency, count(*) AS requests,
                count(*) FILTER (WHERE fault IN ('client', 'policy')) AS errors_client,
                count(*) FILTER (WHERE fault IN ('agent', 'router')) AS errors_agent,
                sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cached_tokens) AS cached_tokens,
                sum(cost_nano) AS cost_nano, min(created_at) AS first_event_at, max(created_at) AS last_event_at
            FROM (
                SELECT project_id, (created_at AT TIME ZONE 'UTC')::date AS day, coalesce(endpoint_slug, '') AS endpoint_slug,
                    coalesce(model_name, '') AS model_name, surface, service_tier, coalesce(api_key_id, '') AS api_key_id, is_xim,
                    usage_bucket(latency_ms) AS latency, usage_bucket(ttft_ms) AS ttft, fault, input_tokens, output_tokens, cached_tokens,
                    cost_nano, created_at
                FROM event) e
            GROUP BY GROUPING SETS ((\(keyColumns), latency), (\(keyColumns), ttft))
        ), fresh AS (
            SELECT \(keyColumns), \(amounts.map { "(sum(\($0)) FILTER (WHERE is_latency))::bigint AS \($0)" }.joined(separator: ", ")),
                usage_histogram(string_agg(usage_histogram(latency, requests), ''::bytea) FILTER (WHERE is_latency)) AS latency_hist,
                usage_histogram(string_agg(usage_histogram(ttft, requests), ''::bytea) FILTER (WHERE NOT is_latency)) AS ttft_hist,
                min(first_event_at) AS first_event_at, max(last_event_at) AS last_event_at
            FROM cell
            GROUP BY \(keyColumns))
        """
}

extension UsageRollupSQL {
    static let keyColumns = key.joined(separator: ", ")
    static let allColumns = (key + measures).joined(separator: ", ")
    static func key(of table: String) -> String { key.map { "\(table).\($0)" }.joined(separator: ", ") }
    static func measures(of table: String) -> String { measures.map { "\(table).\($0)" }.joined(separator: ", ") }
}
