import Billing
import Foundation
import Mesh
import OpenAI
import Postgres
import Tenancy

/// An endpoint as its routes show it (07 §6): everything but the upstream's API key, which no answer ever holds.
public struct EndpointObject: Sendable, Identifiable {
    public var id: ID<Endpoint>
    public var slug: String
    public var settings: EndpointSettings
    public var hasUpstreamKey: Bool
    public var status: EndpointRecord.Status
    public var statusDetail: String?
    public var generation: Int64
    /// The version of the model that is served.
    public var activeVersion: String
    /// Servers that answered their last health probe.
    public var readyServers: Int
    public var priceNanoPerMtok: Int64
    public var createdAt: Int
    public var updatedAt: Int
    public var lastRequestAt: Int?
    public var report: ModelFacts
    /// Where clients reach it: `https://…/{project}/{endpoint}/v1`. Known to routes only.
    public var baseURL: String?
    /// Whether the reader may know where the upstream is. Keys that are in applications' and browsers' hands must not say it.
    public var showsUpstream = true
}

extension EndpointObject: Encodable {
    private enum Keys: String, CodingKey {
        case id, object, slug, name, description, model, tier, upstream, placement, tools, limits, defaults, retention, memory, migrate
        case quantization, speculative, cors, visibility, metadata, aliases, status, generation, workers, price
        case modelVersion = "model_version"
        case taskMode = "task_mode"
        case prefixCache = "prefix_cache"
        case contextLength = "context_length"
        case kvCache = "kv_cache"
        case baseURL = "base_url"
        case statusDetail = "status_detail"
        case activeVersion = "active_version"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
        case lastRequestAt = "last_request_at"
    }

    /// Absent values are null.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(id, forKey: .id)
        try container.encode("endpoint", forKey: .object)
        try container.encode(slug, forKey: .slug)
        try container.encode(settings.name, forKey: .name)
        try container.encode(settings.description, forKey: .description)
        try container.encode(settings.model, forKey: .model)
        try container.encode(settings.modelVersion, forKey: .modelVersion)
        try container.encode(settings.tier, forKey: .tier)
        try container.encode(settings.taskMode.rawValue, forKey: .taskMode)
        try container.encode(settings.aliases, forKey: .aliases)
        try container.encode(
            ShownUpstream(
                settings: settings.upstream, hasKey: hasUpstreamKey, showsPlace: showsUpstream, detected: report.knownEngine),
            forKey: .upstream)
        try container.encode(settings.placement, forKey: .placement)
        try container.encode(Tools(), forKey: .tools)
        try container.encode(ShownLimits(limits: settings.limits), forKey: .limits)
        try container.encode(ShownDefaults(defaults: settings.defaults), forKey: .defaults)
        try container.encode(Retention(store: settings.retention.store, days: settings.retention.days), forKey: .retention)
        try container.encode(Memory(), forKey: .memory)
        try container.encode(settings.prefixCache, forKey: .prefixCache)
        try container.encode(false, forKey: .migrate)
        try container.encode(settings.contextLength, forKey: .contextLength)
        for key in [Keys.quantization, .speculative, .kvCache] { try container.encodeNil(forKey: key) }
        try container.encode(settings.cors ?? .standard, forKey: .cors)
        try container.encode(settings.visibility, forKey: .visibility)
        try container.encode(settings.metadata, forKey: .metadata)
        try container.encode(baseURL, forKey: .baseURL)
        try container.encode(status.rawValue, forKey: .status)
        try container.encode(statusDetail, forKey: .statusDetail)
        try container.encode(generation, forKey: .generation)
        try container.encode(activeVersion, forKey: .activeVersion)
        try container.encode(["ready": readyServers, "loading": 0], forKey: .workers)
        try container.encode(["usd_per_million_tokens": NanoUSD.text(priceNanoPerMtok)], forKey: .price)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(updatedAt, forKey: .updatedAt)
        try container.encode(lastRequestAt, forKey: .lastRequestAt)
    }

    private struct Tools: Encodable {
        var server_tools: [String] = []
        var mcp_servers: [String] = []
        var max_iterations = 10
    }

    private struct Memory: Encodable {
        private enum Keys: CodingKey { case mode, workspace_id }
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encodeNil(forKey: .mode)
            try container.encodeNil(forKey: .workspace_id)
        }
    }

    private struct Retention: Encodable {
        private enum Keys: CodingKey { case store, days }
        var store: Bool
        var days: Int?
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(store, forKey: .store)
            try container.encode(days, forKey: .days)
        }
    }
}

/// The upstream without its key, and without where it is for those who need not know.
private struct ShownUpstream: Encodable {
    var settings: UpstreamSettings
    var hasKey: Bool
    var showsPlace: Bool
    /// Whose server it was recognized as.
    var detected: Engine?

    private enum Keys: CodingKey {
        case urls, model, api_key_set, api, timeout_ms, health_path, headers, max_concurrent, engine, engine_detected
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(showsPlace ? settings.urls : nil, forKey: .urls)
        try container.encode(settings.model, forKey: .model)
        try container.encode(hasKey, forKey: .api_key_set)
        try container.encode("openai", forKey: .api)
        try container.encode(settings.timeoutMilliseconds, forKey: .timeout_ms)
        try container.encode(showsPlace ? settings.healthPath : nil, forKey: .health_path)
        try container.encode(showsPlace ? settings.headers : nil, forKey: .headers)
        try container.encode(settings.maxConcurrent, forKey: .max_concurrent)
        try container.encode(settings.engine?.rawValue ?? "auto", forKey: .engine)
        try container.encode(detected, forKey: .engine_detected)
    }
}

/// The endpoint's own limits; null = the tier's.
private struct ShownLimits: Encodable {
    var limits: EndpointLimits

    private enum Keys: CodingKey {
        case requests_per_minute, tokens_per_minute, max_concurrent, max_tokens, max_prompt_tokens, request_timeout_seconds
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(limits.requestsPerMinute, forKey: .requests_per_minute)
        try container.encode(limits.tokensPerMinute, forKey: .tokens_per_minute)
        try container.encode(limits.maxConcurrent, forKey: .max_concurrent)
        try container.encode(limits.maxTokens, forKey: .max_tokens)
        try container.encode(limits.maxPromptTokens, forKey: .max_prompt_tokens)
        try container.encode(limits.requestTimeoutSeconds, forKey: .request_timeout_seconds)
    }
}

/// What requests get where they say nothing, the platform's own defaults included.
private struct ShownDefaults: Encodable {
    var defaults: EndpointDefaults

    private enum Keys: CodingKey { case temperature, top_p, system_prompt, service_tier, reasoning_effort }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(Decimal(string: "\(defaults.temperature ?? EndpointDefaults.usualTemperature)"), forKey: .temperature)
        try container.encode(Decimal(string: "\(defaults.topP ?? EndpointDefaults.usualTopP)"), forKey: .top_p)
        try container.encode(defaults.systemPrompt, forKey: .system_prompt)
        try container.encode(defaults.serviceTier, forKey: .service_tier)
        try container.encode(defaults.reasoningEffort, forKey: .reasoning_effort)
    }
}

extension EndpointObject {
    /// Of `endpoints e JOIN models m JOIN service_tiers t`.
    static let columns = """
        e.id, e.slug, e.name, e.description, m.name AS model_name, e.model_version, e.tier, e.task_mode, e.aliases, e.upstream_urls,
        e.upstream_model, e.upstream_api_key IS NOT NULL AS has_key, e.upstream_health_path, e.upstream_headers, e.upstream_timeout_ms,
        e.upstream_max_concurrent, e.upstream_engine, e.engine_report, e.placement, e.limits, e.defaults, e.retention, e.prefix_cache, e.context_length, e.cors, e.visibility, e.metadata,
        e.status, e.status_detail, e.generation, CASE WHEN e.model_version = 'latest' THEN COALESCE(e.active_version, m.version) ELSE e.model_version END
        AS active_version, e.ready_servers, t.price_nano_per_mtok, extract(epoch FROM e.created_at)::bigint AS created_at,
        extract(epoch FROM e.updated_at)::bigint AS updated_at, floor(extract(epoch FROM e.last_request_at))::bigint AS last_request_at
        """
    static let tables = "endpoints e JOIN models m ON m.id = e.model_id JOIN service_tiers t ON t.slug = e.tier"
}

extension Row {
    func endpointObject() throws -> EndpointObject {
        EndpointObject(
            id: try get("id"), slug: try get("slug"), settings: try endpointSettings(), hasUpstreamKey: try get("has_key"),
            status: try named("status"), statusDetail: try optional("status_detail"), generation: try get("generation"),
            activeVersion: try get("active_version"), readyServers: try get("ready_servers"),
            priceNanoPerMtok: try get("price_nano_per_mtok"), createdAt: try get("created_at"), updatedAt: try get("updated_at"),
            lastRequestAt: try optional("last_request_at"), report: try decoded("engine_report"))
    }

    private func endpointSettings() throws -> EndpointSettings {
        var settings = EndpointSettings()
        settings.name = try get("name")
        settings.description = try get("description")
        settings.model = try get("model_name")
        settings.modelVersion = try get("model_version")
        settings.tier = try get("tier")
        settings.taskMode = try named("task_mode")
        settings.aliases = try texts("aliases")
        settings.upstream = try upstream()
        settings.placement = try decoded("placement")
        settings.limits = try decoded("limits")
        settings.defaults = try decoded("defaults")
        settings.retention = try decoded("retention")
        settings.prefixCache = try get("prefix_cache")
        settings.contextLength = try optional("context_length")
        settings.cors = try corsPolicy()
        settings.visibility = try named("visibility")
        settings.metadata = try decoded("metadata")
        return settings
    }
}
