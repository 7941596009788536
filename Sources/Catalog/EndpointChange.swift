import OpenAI
import Server

/// What shall be set on an endpoint; nil = as it is, or the default on a new one. Of `limits` and `defaults` only the members that are given.
public struct EndpointChange: Sendable {
    public var name: String?
    public var description: String?
    public var tier: String?
    /// By name or identifier.
    public var model: String?
    public var modelVersion: String?
    public var taskMode: TaskMode?
    /// Empty = as they are.
    public var urls: [String] = []
    public var aliases: [String]?
    public var upstreamModel: String?
    public var upstreamKey: String?
    public var removesUpstreamKey = false
    public var healthPath: String?
    public var headers: [String: String]?
    public var timeoutMilliseconds: Int?
    public var maxConcurrent: Int?
    public var engine: EngineChoice?
    public var contextLength: Int?
    public var placement: PlacementChange?
    public var limits: EndpointLimits?
    public var defaults: EndpointDefaults?
    public var storesAnswers: Bool?
    public var retentionDays: Int?
    public var prefixCache: Bool?
    public var cors: CORSPolicy?
    public var visibility: EndpointVisibility?
    public var metadata: [String: String]?
    /// Only the operator sets it so; others activate and deactivate.
    public var status: EndpointRecord.Status?
    /// What is not given goes back to its default, but for the sealed key, which nobody can give back as it is.
    public var isWhole = false
    private var resets: [@Sendable (inout EndpointSettings) -> Void] = []

    public init() {}

    /// Back to the default, before anything else is set.
    public mutating func reset<Value>(_ member: WritableKeyPath<EndpointSettings, Value> & Sendable) {
        resets.append { $0[keyPath: member] = EndpointSettings()[keyPath: member] }
    }

    /// The settings as they will be.
    func applied(to old: EndpointSettings) -> EndpointSettings {
        var new = isWhole ? EndpointSettings() : old
        for reset in resets { reset(&new) }
        if let name { new.name = name }
        if let description { new.description = description }
        if let tier { new.tier = Self.sharedTier(tier) }
        if let model { new.model = model }
        if let modelVersion { new.modelVersion = modelVersion }
        if let taskMode { new.taskMode = taskMode }
        if let aliases { new.aliases = aliases }
        apply(to: &new.upstream)
        if let placement { new.placement.take(placement) }
        if let limits { new.limits.take(limits) }
        if let defaults { new.defaults.take(defaults) }
        if let storesAnswers { new.retention.store = storesAnswers }
        if let retentionDays { new.retention.days = retentionDays }
        if let prefixCache { new.prefixCache = prefixCache }
        if let contextLength { new.contextLength = contextLength }
        if let cors { new.cors = cors }
        if let visibility { new.visibility = visibility }
        if let metadata { new.metadata = metadata }
        return new
    }

    private func apply(to upstream: inout UpstreamSettings) {
        if !urls.isEmpty { upstream.urls = urls }
        if let upstreamModel { upstream.model = upstreamModel }
        if let healthPath { upstream.healthPath = healthPath }
        if let headers { upstream.headers = headers }
        if let timeoutMilliseconds { upstream.timeoutMilliseconds = timeoutMilliseconds }
        if let maxConcurrent { upstream.maxConcurrent = maxConcurrent }
        if let engine { upstream.engine = engine.engine }
    }

    /// The dedicated tiers are stored as the shared ones of their vendor (06 §4).
    private static func sharedTier(_ slug: String) -> String {
        switch slug {
        case "gpu_nvidia_dedicated": "gpu_nvidia_shared"
        case "gpu_amd_dedicated": "gpu_amd_shared"
        default: slug
        }
    }
}

/// What shall be set of a placement; nil = as it is.
public struct PlacementChange: Sendable {
    public var agents: [String]?
    public var regions: [String]?
    public var allowsSharedFallback: Bool?
    public init() {}
}

extension EndpointPlacement {
    fileprivate mutating func take(_ given: PlacementChange) {
        agents = given.agents ?? agents
        regions = given.regions ?? regions
        allowsSharedFallback = given.allowsSharedFallback ?? allowsSharedFallback
    }
}

extension EndpointLimits {
    /// The members of its JSON object.
    public static let names: Set<String> = [
        "requests_per_minute", "tokens_per_minute", "max_concurrent", "max_tokens", "max_prompt_tokens", "request_timeout_seconds",
    ]

    fileprivate mutating func take(_ given: EndpointLimits) {
        requestsPerMinute = given.requestsPerMinute ?? requestsPerMinute
        tokensPerMinute = given.tokensPerMinute ?? tokensPerMinute
        maxConcurrent = given.maxConcurrent ?? maxConcurrent
        maxTokens = given.maxTokens ?? maxTokens
        maxPromptTokens = given.maxPromptTokens ?? maxPromptTokens
        requestTimeoutSeconds = given.requestTimeoutSeconds ?? requestTimeoutSeconds
    }
}

extension EndpointDefaults {
    /// The members of its JSON object.
    public static let names: Set<String> = ["temperature", "top_p", "system_prompt", "service_tier", "reasoning_effort"]

    fileprivate mutating func take(_ given: EndpointDefaults) {
        temperature = given.temperature ?? temperature
        topP = given.topP ?? topP
        systemPrompt = given.systemPrompt ?? systemPrompt
        serviceTier = given.serviceTier ?? serviceTier
        reasoningEffort = given.reasoningEffort ?? reasoningEffort
    }
}
