/// The limits that hold for an endpoint: the tier's, lowered by the endpoint's own. nil = unlimited.
public struct EffectiveLimits: Sendable, Equatable {
    public var requestsPerMinute: Int?
    public var tokensPerMinute: Int?
    public var concurrent: Int
    public var maxTokens: Int?
    public var maxPromptTokens: Int?
    public var requestTimeout: Duration

    public init(tier: ServiceTier, endpoint: EndpointLimits) {
        requestsPerMinute = Self.lower(tier.requestsPerMinute, endpoint.requestsPerMinute)
        tokensPerMinute = Self.lower(tier.tokensPerMinute, endpoint.tokensPerMinute)
        concurrent = min(tier.concurrent, endpoint.maxConcurrent ?? .max)
        maxTokens = endpoint.maxTokens
        maxPromptTokens = endpoint.maxPromptTokens
        requestTimeout = endpoint.requestTimeoutSeconds.map { min(tier.requestTimeout, .seconds($0)) } ?? tier.requestTimeout
    }

    private static func lower(_ first: Int?, _ second: Int?) -> Int? {
        switch (first, second) {
        case (let first?, let second?): min(first, second)
        default: first ?? second
        }
    }
}

extension EndpointRecord {
    public var effectiveLimits: EffectiveLimits { EffectiveLimits(tier: tier, endpoint: limits) }
}
