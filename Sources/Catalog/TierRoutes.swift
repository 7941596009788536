import Billing
import Foundation
import OpenAI
import Postgres
import Server
import Tenancy

/// `GET /v1/service-tiers`: what tiers cost and allow (06 §4), for everybody.
public struct TierRoutes: Sendable {
    private let tiers: FreshCache<Bool, [ShownTier]>

    public init(database: SystemDatabase) {
        // Anybody may ask as often as they like; the database is asked once a second.
        tiers = FreshCache(capacity: 1) { _ in try database.withConnection { try $0.tiers() } }
    }

    public var all: [Route] { [Route(.get, "service-tiers", .host, .open, meter: .none, list)] }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        try .list(ListPage(data: tiers.value(for: true) ?? [], hasMore: false))
    }
}

/// A tier as everybody may see it. null = unlimited; prices are dollars as decimal texts.
struct ShownTier: Sendable, Encodable, Identifiable {
    var id: String
    var priceNanoPerMtok: Int64
    var nodePriceNano: Int64
    /// The whole numbers of the row, by their names in the answer.
    var numbers: [(name: String, value: Int?)]
    var isPreemptable: Bool

    private struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(id, forKey: Key("id"))
        try container.encode("service_tier", forKey: Key("object"))
        try container.encode(NanoUSD.text(priceNanoPerMtok), forKey: Key("usd_per_million_tokens"))
        try container.encode(NanoUSD.text(nodePriceNano), forKey: Key("usd_per_node_730h"))
        for number in numbers { try container.encode(number.value, forKey: Key(number.name)) }
        try container.encode(isPreemptable, forKey: Key("preemptable"))
    }
}

extension SystemConnection {
    private static var numbers: [(name: String, column: String)] {
        [
            ("tokens_per_minute", "tokens_per_minute"), ("requests_per_minute", "requests_per_minute"), ("burst_floor", "burst_floor"),
            ("request_timeout_seconds", "request_timeout_s"), ("idle_stream_seconds", "idle_stream_s"), ("max_concurrent", "concurrent"),
            ("queue_wait_seconds", "queue_wait_s"), ("batch_width", "batch_width"), ("max_model_bytes", "max_model_bytes"),
            ("max_endpoints", "max_endpoints"), ("max_models", "max_models"), ("tokens_per_month", "tokens_per_month"),
            ("priority", "priority"), ("hot_retention_seconds", "hot_retention_s"), ("cold_retention_seconds", "cold_retention_s"),
        ]
    }

    func tiers() throws -> [ShownTier] {
        try query("SELECT * FROM service_tiers ORDER BY priority, slug").map { row in
            ShownTier(
                id: try row.get("slug"), priceNanoPerMtok: try row.get("price_nano_per_mtok"),
                nodePriceNano: try row.get("node_price_nano_per_730h"),
                numbers: try Self.numbers.map { ($0.name, try row.optional($0.column)) }, isPreemptable: try row.get("is_preemptable"))
        }
    }
}
