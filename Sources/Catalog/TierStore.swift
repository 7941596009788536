import OpenAI
import Postgres
import Server
import Tenancy

/// What shall be set on a service tier; nil = as it is, or the default on a new one.
public struct TierChange: Sendable {
    /// A cap that may be taken away.
    public enum Cap: Sendable, Equatable { case none, limit(Int) }

    public var priceNanoPerMtok: Int64?
    public var tokensPerMinute: Cap?
    public var requestsPerMinute: Cap?
    public var burstFloor: Int?
    public var requestTimeoutSeconds: Int?
    public var idleStreamSeconds: Int?
    public var concurrent: Int?
    public var queueWaitSeconds: Int?
    public var batchWidth: Int?
    public var priority: Int?
    public var nodePriceNano: Int64?
    public var maxModelBytes: Cap?
    public var maxEndpoints: Int?
    public var maxModels: Cap?
    public var tokensPerMonth: Cap?
    public var isPreemptable: Bool?
    public var hotRetentionSeconds: Int?
    public var coldRetentionSeconds: Int?

    public init() {}

    func check() throws {
        if let priceNanoPerMtok, priceNanoPerMtok < 0 { throw APIError.invalid("price_nano_per_mtok", "A price is not negative.") }
        if let nodePriceNano, nodePriceNano < 0 { throw APIError.invalid("node_price_nano", "A price is not negative.") }
        for (name, cap) in [("max_model_bytes", maxModelBytes), ("tokens_per_month", tokensPerMonth)] {
            if let value = cap?.limit, value < 1 { throw APIError.invalid(name, "\(name) is at least 1, not \(value).") }
        }
        try Self.check("max_endpoints", maxEndpoints, from: 1)
        try Self.check("max_models", maxModels?.limit, from: 1)
        try Self.check("hot_retention_s", hotRetentionSeconds, from: 0)
        try Self.check("cold_retention_s", coldRetentionSeconds, from: 0)
        try Self.check("tokens_per_minute", tokensPerMinute?.limit, from: 1)
        try Self.check("requests_per_minute", requestsPerMinute?.limit, from: 1)
        try Self.check("burst_floor", burstFloor, from: 0)
        try Self.check("request_timeout_s", requestTimeoutSeconds, from: 1)
        try Self.check("idle_stream_s", idleStreamSeconds, from: 1)
        try Self.check("concurrent", concurrent, from: 1)
        try Self.check("queue_wait_s", queueWaitSeconds, from: 0)
        try Self.check("batch_width", batchWidth, from: 0)
        try Self.check("priority", priority, from: 0)
    }

    private static func check(_ param: String, _ value: Int?, from lowest: Int) throws {
        guard let value, !(lowest...Int(Int32.max)).contains(value) else { return }
        throw APIError.invalid(param, "\(param) is from \(lowest) to \(Int32.max), not \(value).")
    }
}

extension TierChange.Cap {
    var limit: Int? { if case .limit(let value) = self { value } else { nil } }
}

extension SystemConnection {
    /// Creates the tier, or changes it.
    ///
    /// - Returns: the stored row as JSON.
    /// - Throws: `APIError` 400 that names the field; a new tier needs a price.
    public func setTier(_ slug: String, to change: TierChange, by actor: AuditActor) throws -> String {
        try change.check()
        guard slug.wholeMatch(of: /[a-z][a-z0-9_]{0,47}/) != nil else {
            throw APIError.invalid("slug", "A tier's slug has 1 to 48 characters of a-z, 0-9 and _ and starts with a letter.")
        }
        return try transaction {
            let before = try tierJSON(slug, locking: true)
            if before == nil {
                guard let price = change.priceNanoPerMtok else { throw APIError.missing("price_nano_per_mtok") }
                try query(
                    """
                    INSERT INTO service_tiers (slug, price_nano_per_mtok, burst_floor, request_timeout_s, idle_stream_s, concurrent,
                        queue_wait_s, batch_width, max_endpoints, priority, hot_retention_s, cold_retention_s)
                    VALUES (\(slug), \(price), 10, 300, 600, 50, 10, 16, 100, 25, 25200, 604800)
                    ON CONFLICT DO NOTHING
                    """)
            }
            try query(
                """
                UPDATE service_tiers SET
                    price_nano_per_mtok = COALESCE(\(change.priceNanoPerMtok), price_nano_per_mtok),
                    tokens_per_minute = CASE WHEN \(change.tokensPerMinute != nil)
                        THEN \(change.tokensPerMinute?.limit) ELSE tokens_per_minute END,
                    requests_per_minute = CASE WHEN \(change.requestsPerMinute != nil)
                        THEN \(change.requestsPerMinute?.limit) ELSE requests_per_minute END,
                    burst_floor = COALESCE(\(change.burstFloor), burst_floor),
                    request_timeout_s = COALESCE(\(change.requestTimeoutSeconds), request_timeout_s),
                    idle_stream_s = COALESCE(\(change.idleStreamSeconds), idle_stream_s),
                    concurrent = COALESCE(\(change.concurrent), concurrent),
                    queue_wait_s = COALESCE(\(change.queueWaitSeconds), queue_wait_s),
                    batch_width = COALESCE(\(change.batchWidth), batch_width),
                    priority = COALESCE(\(change.priority), priority),
                    node_price_nano_per_730h = COALESCE(\(change.nodePriceNano), node_price_nano_per_730h),
                    max_model_bytes = CASE WHEN \(change.maxModelBytes != nil)
                        THEN \(change.maxModelBytes?.limit) ELSE max_model_bytes END,
                    max_endpoints = COALESCE(\(change.maxEndpoints), max_endpoints),
                    max_models = CASE WHEN \(change.maxModels != nil) THEN \(change.maxModels?.limit) ELSE max_models END,
                    tokens_per_month = CASE WHEN \(change.tokensPerMonth != nil)
                        THEN \(change.tokensPerMonth?.limit) ELSE tokens_per_month END,
                    is_preemptable = COALESCE(\(change.isPreemptable), is_preemptable),
                    hot_retention_s = COALESCE(\(change.hotRetentionSeconds), hot_retention_s),
                    cold_retention_s = COALESCE(\(change.coldRetentionSeconds), cold_retention_s),
                    updated_at = now()
                WHERE slug = \(slug)
                """)
            guard let after = try tierJSON(slug) else { throw PostgresError.column("slug", problem: "names no tier") }
            try audit(
                AuditEntry(
                    action: before == nil ? "tier.create" : "tier.update", target: ("tier", slug), beforeJSON: before, afterJSON: after),
                by: actor)
            return after
        }
    }

    private func tierJSON(_ slug: String, locking: Bool = false) throws -> String? {
        try query(
            "SELECT to_jsonb(t) AS json FROM service_tiers t WHERE slug = \(slug) \(trusted: locking ? "FOR UPDATE" : "")"
        ).first?.get("json")
    }
}

extension TenantConnection {
    /// The tier of this slug, or a 400 that names the field.
    func serviceTier(_ slug: String) throws -> ServiceTier {
        guard let row = try query("SELECT \(trusted: ServiceTier.columns) FROM service_tiers t WHERE t.slug = \(slug)").first else {
            throw APIError.invalid("tier", "There is no service tier '\(slug)'.")
        }
        return try row.serviceTier()
    }
}

extension ServiceTier {
    /// The columns that `Row.serviceTier` reads, of a table `t`.
    static let columns = """
        t.slug AS tier, t.price_nano_per_mtok, t.tokens_per_minute, t.requests_per_minute, t.burst_floor, t.request_timeout_s,
        t.idle_stream_s, t.concurrent, t.queue_wait_s, t.priority, t.tokens_per_month
        """
}

extension Row {
    func serviceTier() throws -> ServiceTier {
        ServiceTier(
            slug: try get("tier"), priceNanoPerMtok: try get("price_nano_per_mtok"), tokensPerMinute: try optional("tokens_per_minute"),
            requestsPerMinute: try optional("requests_per_minute"), burstFloor: try get("burst_floor"),
            requestTimeout: .seconds(try get("request_timeout_s", as: Int.self)),
            idleStreamTimeout: .seconds(try get("idle_stream_s", as: Int.self)), concurrent: try get("concurrent"),
            queueWait: .seconds(try get("queue_wait_s", as: Int.self)), priority: try get("priority"),
            tokensPerMonth: try optional("tokens_per_month"))
    }
}
