import OpenAI
import Server

/// One accepted request, as it is charged and counted (08 §5.1).
public struct UsageEvent: Sendable {
    /// Chosen with the request, so that writing the row again changes nothing.
    public var id: String
    public var projectID: ID<Project>
    public var endpointID: ID<Endpoint>?
    public var endpointSlug: String?
    public var modelID: ID<Model>?
    public var modelName: String?
    public var modelVersion: String?
    public var keyID: ID<APIKey>?
    public var userID: String?
    public var requestID: String
    public var surface: Surface
    /// The routing profile: `default`, `priority`, `scale`, `flex` or `batch`.
    public var serviceTier = "default"
    /// The endpoint's tier.
    public var tier: String
    public var workerID: String?
    public var isXIM = false
    public var isStream: Bool
    public var inputTokens = 0
    public var outputTokens = 0
    public var cachedTokens = 0
    public var reasoningTokens = 0
    public var costNano: Int64 = 0
    public var priceNanoPerMtok: Int64
    public var multiplierBasisPoints = 10_000
    public var statusCode = 200
    public var errorCode: String?
    public var fault = ErrorCode.Fault.none
    public var finishReason: String?
    public var isCutByClient = false
    public var timeToFirstTokenMilliseconds: Int?
    public var latencyMilliseconds = 0
    public var queueMilliseconds = 0
    public var routerMicroseconds = 0
    public var retries = 0
    public var region: String?
    /// Unix time in microseconds; with `id` it is the row's key.
    public var createdAtMicroseconds: Int64

    public init(
        id: String, projectID: ID<Project>, requestID: String, surface: Surface, tier: String, isStream: Bool, priceNanoPerMtok: Int64,
        createdAtMicroseconds: Int64
    ) {
        self.id = id
        self.projectID = projectID
        self.requestID = requestID
        self.surface = surface
        self.tier = tier
        self.isStream = isStream
        self.priceNanoPerMtok = priceNanoPerMtok
        self.createdAtMicroseconds = createdAtMicroseconds
    }

    /// Sets `costNano` from tokens, price and multiplier.
    public mutating func charge() {
        costNano = Pricing.cost(
            input: inputTokens, cached: cachedTokens, output: outputTokens, priceNanoPerMtok: priceNanoPerMtok,
            multiplierBasisPoints: multiplierBasisPoints)
    }
}
