import MessagePack

/// A gateway asks whether the router is alive, which answers with the same.
public struct Ping: FrameFields {
    public init() {}
    init(_ fields: FieldReader) throws(FrameError) {}
    func write(to map: inout MessagePackMap) {}
}

/// A gateway asks for an agent: the request as the agent gets it, and all that the choice of the agent depends on.
public struct RouteRequest: FrameFields {
    /// The deadline is until the first chunk where the answer is a stream.
    public var dispatch: Dispatch
    public var isStream: Bool
    /// Slug of the endpoint's tier.
    public var tier: String
    /// Milliseconds that it may wait for a place.
    public var queueWait: Int
    /// Estimated.
    public var promptTokens: Int
    /// Estimated, of the answer.
    public var answerTokens: Int
    /// Tokens that the worker's context must have room for.
    public var contextNeed: Int
    /// `service_tier` of the request.
    public var profile: String
    /// Regions that are allowed; nil = any.
    public var regions: [String]?
    /// Ids of agents that are allowed; nil = any.
    public var agents: [String]?
    /// Shared agents may have it where the project's own cannot.
    public var allowsSharedFallback: Bool
    /// What the worker must be able to do beyond the model: `tools`, `vision`, `guided_decoding`.
    public var features: [String]
    /// Where the request came in.
    public var ingressRegion: String?
    /// Hints, in milliseconds.
    public var timeToFirstToken: Double?
    public var timePerToken: Double?

    public init(
        _ dispatch: Dispatch, isStream: Bool, tier: String, queueWait: Int, promptTokens: Int, answerTokens: Int, contextNeed: Int = 0,
        profile: String,
        regions: [String]? = nil, agents: [String]? = nil, allowsSharedFallback: Bool = true, features: [String] = [],
        ingressRegion: String? = nil, timeToFirstToken: Double? = nil, timePerToken: Double? = nil
    ) {
        self.dispatch = dispatch
        self.isStream = isStream
        self.tier = tier
        self.queueWait = queueWait
        self.promptTokens = promptTokens
        self.answerTokens = answerTokens
        self.contextNeed = contextNeed
        self.profile = profile
        self.regions = regions
        self.agents = agents
        self.allowsSharedFallback = allowsSharedFallback
        self.features = features
        self.ingressRegion = ingressRegion
        self.timeToFirstToken = timeToFirstToken
        self.timePerToken = timePerToken
    }

    init(_ fields: FieldReader) throws(FrameError) {
        dispatch = try Dispatch(fields)
        isStream = try fields.flag("stream")
        tier = try fields.text("tier")
        queueWait = try fields.integer("queue_wait_ms")
        promptTokens = try fields.integer("prompt_tokens", 0...1_000_000_000)
        answerTokens = try fields.integer("answer_tokens", 0...1_000_000_000)
        contextNeed = try fields.integer("context_need", 0...1_000_000_000)
        profile = try fields.text("profile")
        regions = fields.has("regions") ? try fields.ids("regions") : nil
        agents = fields.has("agents") ? try fields.ids("agents") : nil
        allowsSharedFallback = try fields.optionalFlag("shared_fallback") ?? true
        features = fields.has("features") ? try fields.ids("features") : []
        ingressRegion = try fields.optionalText("ingress_region")
        timeToFirstToken = try fields.optionalNumber("ttft_ms")
        timePerToken = try fields.optionalNumber("tpot_ms")
    }

    func write(to map: inout MessagePackMap) {
        dispatch.write(to: &map)
        map.add("stream", isStream)
        map.add("tier", tier)
        map.add("queue_wait_ms", queueWait)
        map.add("prompt_tokens", promptTokens)
        map.add("answer_tokens", answerTokens)
        map.add("context_need", contextNeed)
        map.add("profile", profile)
        if let regions { map.add("regions", regions) }
        if let agents { map.add("agents", agents) }
        if !allowsSharedFallback { map.add("shared_fallback", false) }
        if !features.isEmpty { map.add("features", features) }
        map.add("ingress_region", ingressRegion)
        map.add("ttft_ms", timeToFirstToken)
        map.add("tpot_ms", timePerToken)
    }
}

/// An answer that is over has made the beginning longer that its agent has seen.
public struct Extend: FrameFields {
    public var workerID: String
    /// Of the prompt and the answer together.
    public var prefix: [UInt64]

    public init(workerID: String, prefix: [UInt64]) {
        self.workerID = workerID
        self.prefix = prefix
    }

    init(_ fields: FieldReader) throws(FrameError) {
        workerID = try fields.text("worker_id")
        prefix = try fields.hashes("prefix")
    }

    func write(to map: inout MessagePackMap) {
        map.add("worker_id", workerID)
        map.add("prefix", prefix)
    }
}

/// An agent has been sent the request.
public struct Routed: FrameFields {
    public var workerID: String
    /// Attempts so far, this one too.
    public var attempts: Int
    /// Microseconds that it waited for a place.
    public var queueTime: Int
    /// Microseconds that the choices took.
    public var decisionTime: Int
    /// Credits that the agent has got, half of which go back together.
    public var credit: Int
    /// What the agent scored, 0...1.
    public var score: Double?
    /// It was chosen without regard to its score.
    public var isExploration: Bool

    public init(
        workerID: String, attempts: Int, queueTime: Int, decisionTime: Int, credit: Int, score: Double? = nil, isExploration: Bool = false
    ) {
        self.workerID = workerID
        self.attempts = attempts
        self.queueTime = queueTime
        self.decisionTime = decisionTime
        self.credit = credit
        self.score = score
        self.isExploration = isExploration
    }

    init(_ fields: FieldReader) throws(FrameError) {
        workerID = try fields.text("worker_id")
        attempts = try fields.integer("attempts", 1...1_000)
        queueTime = try fields.integer("queue_us")
        decisionTime = try fields.integer("decision_us")
        credit = try fields.integer("credit", 0...4_096)
        score = try fields.optionalNumber("score", 0...1)
        isExploration = try fields.optionalFlag("explored") ?? false
    }

    func write(to map: inout MessagePackMap) {
        map.add("worker_id", workerID)
        map.add("attempts", attempts)
        map.add("queue_us", queueTime)
        map.add("decision_us", decisionTime)
        map.add("credit", credit)
        map.add("score", score)
        if isExploration { map.add("explored", true) }
    }
}
