import Catalog
import OpenAI

import struct Routing.PrefixChain

/// One call of a model server, as the gateway sees it. The body is a ready OpenAI request.
public struct UpstreamRequest: Sendable {
    /// Below the upstream's base URL, such as `chat/completions`.
    public var path: String
    public var body: [UInt8]
    public var isStream: Bool
    public var requestID: String
    /// Streams: until the first frame. Others: until the answer is complete.
    public var deadline: ContinuousClock.Instant
    /// The longest wait for a free place at the upstream before 429 `capacity_exceeded`.
    public var queueWait: Duration
    /// Readable = the client is gone; nil where nobody listens (batches).
    public var clientDescriptor: Int32?
    /// What the choice of a worker depends on; nil where there is none to choose.
    public var routing: RoutedRequest?

    public init(
        path: String, body: [UInt8], isStream: Bool, requestID: String, deadline: ContinuousClock.Instant, queueWait: Duration,
        clientDescriptor: Int32?, routing: RoutedRequest? = nil
    ) {
        self.path = path
        self.body = body
        self.isStream = isStream
        self.requestID = requestID
        self.deadline = deadline
        self.queueWait = queueWait
        self.clientDescriptor = clientDescriptor
        self.routing = routing
    }

    /// The member that the model reads.
    var input: String {
        switch path {
        case "embeddings": "input"
        case "completions": "prompt"
        default: "messages"
        }
    }
}

/// What the choice of a worker of the mesh depends on (05 §2-8).
public struct RoutedRequest: Sendable {
    /// `service_tier`, as it is echoed.
    public var profile = "default"
    /// What the worker must be able to do beyond the model: `tools`, `vision`, `guided_decoding`.
    public var features: [String] = []
    /// Estimated.
    public var promptTokens = 0
    public var answerTokens = 0
    /// What no tokenizer could make the prompt shorter than, and the answer that is asked for: a worker with a smaller context cannot have it.
    public var contextNeed = 0
    /// The only region that is allowed.
    public var region: String?
    /// Milliseconds.
    public var timeToFirstToken: Double?
    public var timePerToken: Double?
    /// Names the prompt's beginnings; nil = they are nobody's business.
    package var prefix: PrefixChain?
    /// What the engine's cache is salted with.
    public var cacheSalt: String?
    public init() {}

    init(_ headers: RoutingHeaders) { take(headers) }

    mutating func take(_ headers: RoutingHeaders) {
        region = headers.region
        timeToFirstToken = headers.timeToFirstToken.map(Double.init)
        timePerToken = headers.timePerToken.map(Double.init)
    }

    mutating func expect(_ profile: RoutingProfile, promptTokens: Int, answerTokens: Int) {
        self.profile = profile.name
        (self.promptTokens, self.answerTokens) = (promptTokens, answerTokens)
    }

    mutating func expect<Asked: GenerationRequest>(_ asked: Asked, _ body: UpstreamBody) {
        expect(asked.profile, promptTokens: asked.promptEstimate, answerTokens: asked.usualAnswerTokens)
        contextNeed = asked.longestPrompt.least + min(asked.maxTokens ?? 0, body.mostTokens ?? .max)
    }
}

/// What happened next on a call.
public enum UpstreamEvent {
    /// One JSON chunk of a stream (the data of one SSE event, not `[DONE]`), or the whole body of an answer. Valid until the next call of `next`.
    case frame(UnsafeRawBufferPointer)
    /// The upstream ended its answer in order: `[DONE]`, or the end of the body.
    case finished
    /// The upstream failed, refused, broke off or ran out of time. After a fault there is nothing more.
    case fault(UpstreamFault)
    /// The client closed its connection.
    case clientGone
    /// Nothing happened until the given time.
    case silence
}

/// Why a call failed, already in the words of the API (05 §6, §10).
public struct UpstreamFault: Error, Sendable, APIErrorConvertible {
    public var apiError: APIError
    public init(_ apiError: APIError) { self.apiError = apiError }
}

/// A running call. It belongs to one thread; when it is released, a call that has not ended is cancelled.
public protocol UpstreamCall: AnyObject {
    /// Waits for the next event, at most until `instant`. Attempts before the first frame are made again here, unseen (05 §6).
    func next(until instant: ContinuousClock.Instant) -> UpstreamEvent
    /// Tells the upstream to stop, at once.
    func cancel()
    /// How the upstream is shown to clients: `upstream:<ep id>`.
    var workerID: String { get }
    /// Attempts so far, at least 1.
    var attempts: Int { get }
    /// Time spent waiting for a place.
    var queueTime: Duration { get }
    /// Time spent choosing.
    var decisionTime: Duration { get }
    /// What the worker scored, 0...1; nil where nothing was weighed.
    var score: Double? { get }
    /// The worker was chosen without regard to its score.
    var isExploration: Bool { get }
    /// The answer is complete: its worker has seen the beginning that these name.
    func hasSeen(_ names: [UInt64])
}

extension UpstreamCall {
    public var score: Double? { nil }
    public var isExploration: Bool { false }
    public func hasSeen(_: [UInt64]) {}
    /// Of the worker; empty where it is not known.
    var region: String {
        guard let end = workerID.lastIndex(of: ":"), !workerID.hasPrefix("upstream:") else { return "" }
        return String(workerID[..<end])
    }
}

/// Something that answers inference requests: an HTTP model server, or workers of the mesh.
public protocol Upstream: AnyObject, Sendable {
    /// Starts a call. It never fails by itself: a fault is the call's first event.
    func send(_ request: UpstreamRequest) -> any UpstreamCall
}
