import HTTPClient
import Mesh
import OpenAI

/// The limits and prices of a service tier (04 §6, 06 §4). nil = unlimited.
public struct ServiceTier: Sendable, Equatable {
    public var slug: String
    public var priceNanoPerMtok: Int64
    public var tokensPerMinute: Int?
    public var requestsPerMinute: Int?
    public var burstFloor: Int
    public var requestTimeout: Duration
    public var idleStreamTimeout: Duration
    public var concurrent: Int
    public var queueWait: Duration
    public var priority: Int
    /// Of a project on all its endpoints of the tier, in a month of UTC.
    public var tokensPerMonth: Int?

    public init(
        slug: String, priceNanoPerMtok: Int64, tokensPerMinute: Int?, requestsPerMinute: Int?, burstFloor: Int, requestTimeout: Duration,
        idleStreamTimeout: Duration, concurrent: Int, queueWait: Duration, priority: Int, tokensPerMonth: Int? = nil
    ) {
        self.slug = slug
        self.priceNanoPerMtok = priceNanoPerMtok
        self.tokensPerMinute = tokensPerMinute
        self.requestsPerMinute = requestsPerMinute
        self.burstFloor = burstFloor
        self.requestTimeout = requestTimeout
        self.idleStreamTimeout = idleStreamTimeout
        self.concurrent = concurrent
        self.queueWait = queueWait
        self.priority = priority
        self.tokensPerMonth = tokensPerMonth
    }
}

/// Which surfaces an endpoint serves.
public enum TaskMode: String, Sendable { case generate, embed, score }

/// The HTTP upstream of an endpoint (05 §10).
public struct UpstreamSettings: Sendable, Equatable {
    /// Base URLs as given to an SDK, with or without a final `/v1`; 1 to 16.
    public var urls: [String]
    /// The model name the upstream knows; nil = the endpoint's model name.
    public var model: String?
    /// The upstream's API key, opened.
    public var apiKey: String?
    /// From the origin, such as `/v1/models`.
    public var healthPath: String
    public var headers: [String: String]
    public var timeoutMilliseconds: Int
    public var maxConcurrent: Int
    /// Whose server it is; nil = recognized by what it says.
    public var engine: Engine?

    public init(
        urls: [String], model: String? = nil, apiKey: String? = nil, healthPath: String = "/v1/models", headers: [String: String] = [:],
        timeoutMilliseconds: Int = 300_000, maxConcurrent: Int = 32, engine: Engine? = nil
    ) {
        self.urls = urls
        self.model = model
        self.apiKey = apiKey
        self.healthPath = healthPath
        self.headers = headers
        self.timeoutMilliseconds = timeoutMilliseconds
        self.maxConcurrent = maxConcurrent
        self.engine = engine
    }
}

extension UpstreamSettings {
    /// Headers an endpoint may not set: they are the connection's or a proxy's, or ours.
    public static func isOwnHeader(_ name: String) -> Bool {
        OutboundHeaders.isForbidden(name) || ["content-type", "x-request-id"].contains(name.lowercased())
    }
}

/// The further limits of an endpoint; each only lowers the tier's value.
public struct EndpointLimits: Sendable, Equatable, Codable {
    public var requestsPerMinute: Int?
    public var tokensPerMinute: Int?
    public var maxConcurrent: Int?
    public var maxTokens: Int?
    public var maxPromptTokens: Int?
    public var requestTimeoutSeconds: Int?
    public init() {}

    private enum CodingKeys: String, CodingKey {
        case requestsPerMinute = "requests_per_minute"
        case tokensPerMinute = "tokens_per_minute"
        case maxConcurrent = "max_concurrent"
        case maxTokens = "max_tokens"
        case maxPromptTokens = "max_prompt_tokens"
        case requestTimeoutSeconds = "request_timeout_seconds"
    }
}

/// What an endpoint puts where the request says nothing.
public struct EndpointDefaults: Sendable, Equatable, Codable {
    public var temperature: Double?
    public var topP: Double?
    public var systemPrompt: String?
    public var serviceTier: String?
    public var reasoningEffort: String?
    public init() {}

    /// Where the endpoint says nothing either.
    public static let usualTemperature = 0.7
    public static let usualTopP = 0.9

    private enum CodingKeys: String, CodingKey {
        case temperature
        case topP = "top_p"
        case systemPrompt = "system_prompt"
        case serviceTier = "service_tier"
        case reasoningEffort = "reasoning_effort"
    }
}

/// An endpoint as requests see it: one generation, from admission to end.
public struct EndpointRecord: Sendable, Equatable {
    public enum Status: String, Sendable { case provisioning, active, degraded, inactive, failed, deleting }

    public var id: ID<Endpoint>
    public var projectID: ID<Project>
    public var slug: String
    /// Further names under which the flat form finds the endpoint.
    public var aliases: [String]
    public var status: Status
    public var generation: Int64
    public var taskMode: TaskMode
    public var tier: ServiceTier
    public var modelID: ID<Model>
    /// `system_fingerprint` where the engine gives none.
    public let fingerprint: String
    public var modelName: String
    public var modelVersion: String
    /// The context window in tokens, where it is known.
    public var contextLength: Int?
    public var upstream: UpstreamSettings
    public var limits: EndpointLimits
    public var defaults: EndpointDefaults
    /// Which browser pages may call it.
    public var cors: CORSRules
    public var createdAt: Int
    /// What its server says of itself.
    public var report: ModelFacts
    /// Whether prompts may stay in the engine's cache for the next request.
    public var prefixCache: Bool
    /// Which agents serve it, where agents do.
    public var placement: EndpointPlacement

    public init(
        id: ID<Endpoint>, projectID: ID<Project>, slug: String, status: Status, generation: Int64, taskMode: TaskMode, tier: ServiceTier,
        modelID: ID<Model>, modelName: String, modelVersion: String, contextLength: Int?, upstream: UpstreamSettings,
        limits: EndpointLimits,
        defaults: EndpointDefaults, cors: CORSRules = .standard, createdAt: Int, aliases: [String] = [],
        report: ModelFacts = ModelFacts(), prefixCache: Bool = true, placement: EndpointPlacement = EndpointPlacement()
    ) {
        self.id = id
        self.projectID = projectID
        self.slug = slug
        self.status = status
        self.generation = generation
        self.taskMode = taskMode
        self.tier = tier
        self.modelID = modelID
        fingerprint = "fp_" + modelID.description.suffix(10)
        self.modelName = modelName
        self.modelVersion = modelVersion
        self.contextLength = contextLength
        self.upstream = upstream
        self.limits = limits
        self.defaults = defaults
        self.cors = cors
        self.createdAt = createdAt
        self.aliases = aliases
        self.report = report
        self.prefixCache = prefixCache
        self.placement = placement
    }
}

extension EndpointRecord {
    /// It has no upstream of its own: workers of the mesh serve its model.
    public var isServedByAgents: Bool { upstream.urls.isEmpty }
}

/// The endpoints and models of one project, as one consistent picture.
public struct ProjectCatalog: Sendable {
    /// Active ones first by age; deleted ones are left out.
    public var endpoints: [EndpointRecord]
    public init(endpoints: [EndpointRecord]) { self.endpoints = endpoints }
}

/// Gives the current catalog of a project, at most 1 s old.
public protocol CatalogSource: Sendable {
    func catalog(of project: ID<Project>) throws -> ProjectCatalog
}
