import Foundation
import OpenAI
import Postgres
import Server
import Tenancy

/// How far back the figures of an endpoint go.
public enum StatsWindow: String, Sendable, CaseIterable {
    case hour = "1h"
    case day = "24h"
    case week = "7d"

    var seconds: Int {
        switch self {
        case .hour: 3_600
        case .day: 86_400
        case .week: 604_800
        }
    }
}

/// What happened on an endpoint in a window that ends now (07 §6): counted from its usage rows, so only what was accepted.
public struct EndpointStats: Sendable, Encodable {
    public struct Percentiles: Sendable, Encodable {
        public var p50: Int?
        public var p90: Int?
        public var p95: Int?
        public var p99: Int?

        private enum Keys: CodingKey { case p50, p90, p95, p99 }

        /// null where nothing was measured.
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(p50, forKey: .p50)
            try container.encode(p90, forKey: .p90)
            try container.encode(p95, forKey: .p95)
            try container.encode(p99, forKey: .p99)
        }
    }

    public var object = "endpoint.stats"
    public var endpoint: String
    public var window: String
    public var requests: Int
    /// Requests a second, on average over the window, with four decimals.
    public var rps: Decimal
    /// `input` includes `cached`.
    public var tokens: [String: Int]
    public var ttft: Percentiles
    public var latency: Percentiles
    /// Requests by whose fault they failed; `client` includes those that did not wait.
    public var errors: [String: Int]
    /// Requests that failed by no fault of the client's, of all.
    public var errorRatio: Decimal
    /// Cached tokens of all input tokens.
    public var cacheHitRatio: Decimal
    public var workers: [String: Int]

    private enum CodingKeys: String, CodingKey {
        case object, endpoint, window, requests, rps, tokens, errors, workers
        case ttft = "ttft_ms"
        case latency = "latency_ms"
        case errorRatio = "error_ratio"
        case cacheHitRatio = "cache_hit_ratio"
    }
}

extension TenantConnection {
    /// - Parameter name: the endpoint's identifier or slug.
    public func endpointStats(_ name: String, _ window: StatsWindow) throws -> EndpointStats {
        let endpoint = try requireEndpoint(name)
        let row = try query(
            """
            SELECT count(*) AS requests, COALESCE(sum(input_tokens), 0)::bigint AS input, COALESCE(sum(cached_tokens), 0)::bigint AS cached,
                COALESCE(sum(output_tokens), 0)::bigint AS output, COALESCE(sum(reasoning_tokens), 0)::bigint AS reasoning,
                count(*) FILTER (WHERE fault = 'client') AS client, count(*) FILTER (WHERE fault = 'agent') AS agent,
                count(*) FILTER (WHERE fault = 'router') AS router, count(*) FILTER (WHERE fault = 'policy') AS policy,
                percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY ttft_ms)::text[] AS ttft,
                percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms)::text[] AS latency
            FROM usage_events
            WHERE project_id = \(project) AND endpoint_id = \(endpoint.id)
                AND created_at > now() - make_interval(secs => \(window.seconds)::double precision)
            """)[0]
        func count(_ column: String) throws -> Int { try row.get(column) }
        let requests = try count("requests")
        return EndpointStats(
            endpoint: endpoint.slug, window: window.rawValue, requests: requests, rps: Self.ratio(requests, window.seconds),
            tokens: [
                "input": try count("input"), "cached": try count("cached"), "output": try count("output"),
                "reasoning": try count("reasoning"),
            ], ttft: try row.percentiles("ttft"), latency: try row.percentiles("latency"),
            errors: [
                "client": try count("client"), "agent": try count("agent"), "router": try count("router"), "policy": try count("policy"),
            ], errorRatio: Self.ratio(try count("agent") + count("router"), requests),
            cacheHitRatio: Self.ratio(try count("cached"), try count("input")), workers: ["ready": endpoint.readyServers, "loading": 0])
    }

    /// With four decimals; 0 of nothing is 0.
    private static func ratio(_ part: Int, _ all: Int) -> Decimal {
        guard all > 0 else { return 0 }
        return Decimal(sign: .plus, exponent: -4, significand: Decimal((part * 20_000 + all) / (2 * all)))
    }
}

extension Row {
    /// nil where no row had the value.
    fileprivate func percentiles(_ column: String) throws -> EndpointStats.Percentiles {
        guard try optional(column, as: String.self)?.contains("NULL") == false else { return EndpointStats.Percentiles() }
        let values = try texts(column).map { Int($0) }
        return EndpointStats.Percentiles(p50: values[0], p90: values[1], p95: values[2], p99: values[3])
    }
}
