/// All that the choice of a worker depends on in a request.
public struct RoutingRequest: Sendable {
    public var project: String
    public var model: ModelVersion
    /// Slug of the endpoint's tier.
    public var tier: String
    public var task: TaskMode
    /// Tokens that prompt and answer may need together.
    public var contextNeed: Int
    public var promptTokens: Int
    public var features: Features = []
    /// Regions that are allowed, of `placement.regions` and `X-Xerotier-Region`; nil = any. An empty set allows none.
    public var regions: Set<String>?
    /// Agents that are allowed, of `placement.agents`, by their ids; nil = any.
    public var agents: Set<String>?
    /// Whether shared workers may have it although the project has workers of its own for it, none of which can at the moment.
    public var allowsSharedFallback = true
    /// Where the request came in; nil = unknown.
    public var ingressRegion: String?
    /// Of `PrefixHashes`; empty with the prefix cache off, or for less than a block.
    public var prefix: [UInt64] = []
    public var profile = RoutingProfile.balanced
    public var hints = LatencyHints()
    /// Workers that have failed this request; used again only if there is no other.
    public var triedWorkers: Set<String> = []
    /// Workers that had not loaded the model when they were asked; used again only when they say that they have.
    public var unloadedWorkers: Set<String> = []

    public init(project: String, model: ModelVersion, tier: String, task: TaskMode, contextNeed: Int, promptTokens: Int) {
        self.project = project
        self.model = model
        self.tier = tier
        self.task = task
        self.contextNeed = contextNeed
        self.promptTokens = promptTokens
    }
}

/// What the client would like, in milliseconds; from `X-SLO-TTFT-Ms`, `X-SLO-TPOT-Ms` or the endpoint's settings. Never enforced.
public struct LatencyHints: Sendable, Equatable {
    public var timeToFirstToken: Double?
    public var timePerToken: Double?

    public init(timeToFirstToken: Double? = nil, timePerToken: Double? = nil) {
        self.timeToFirstToken = timeToFirstToken
        self.timePerToken = timePerToken
    }

    public var isEmpty: Bool { timeToFirstToken == nil && timePerToken == nil }
}
