import OpenAI

/// What one inference request asks of the limits. nil = unlimited; the counters are kept all the same.
public struct LimitRequest: Sendable {
    public var requestID: String
    public var endpointID: ID<Endpoint>
    public var keyID: ID<APIKey>
    public var requestsPerMinute: Int?
    public var tokensPerMinute: Int?
    public var burstFloor: Int
    public var concurrent: Int
    /// prompt estimate + min(max_tokens or 256, 256)
    public var tokenEstimate: Int
    /// What the key may use over all endpoints.
    public var quota: KeyQuota?

    public init(
        requestID: String, endpointID: ID<Endpoint>, keyID: ID<APIKey>, requestsPerMinute: Int?, tokensPerMinute: Int?, burstFloor: Int,
        concurrent: Int, tokenEstimate: Int, quota: KeyQuota? = nil
    ) {
        self.requestID = requestID
        self.endpointID = endpointID
        self.keyID = keyID
        self.requestsPerMinute = requestsPerMinute
        self.tokensPerMinute = tokensPerMinute
        self.burstFloor = burstFloor
        self.concurrent = concurrent
        self.tokenEstimate = tokenEstimate
        self.quota = quota
    }
}

/// One counter as the rate-limit headers show it.
public struct LimitReading: Sendable, Equatable {
    public var limit: Int
    public var remaining: Int
    /// Seconds until the bucket is full.
    public var resetSeconds: Int

    public init(limit: Int, remaining: Int, resetSeconds: Int) {
        self.limit = limit
        self.remaining = remaining
        self.resetSeconds = resetSeconds
    }

    public static let unlimited = LimitReading(limit: 2_147_483_647, remaining: 2_147_483_647, resetSeconds: 0)
}

/// The readings of both buckets, shown on answers and on 429.
public struct LimitReadings: Sendable, Equatable {
    public var requests: LimitReading
    public var tokens: LimitReading

    public init(requests: LimitReading, tokens: LimitReading) {
        self.requests = requests
        self.tokens = tokens
    }
}

/// What the limiter decided; nothing was taken when it refused.
public enum LimitDecision: Sendable {
    case admitted(LimitReadings)
    /// `error` is ready to throw (429 with retry_after and strategy).
    case refused(APIError, LimitReadings)
}

/// Rates and concurrency: 04 §6-7. Catalog implements it.
public protocol Limiter: Sendable {
    /// Takes one request, the estimated tokens and a concurrency slot, all or none.
    func admit(_ request: LimitRequest) -> LimitDecision
    /// Gives the slot back and corrects the token bucket by `actual - estimate`. Cached prompt tokens count 25 % in `actualTokens`.
    /// - Returns: what waits until that is done, to be called once: other work may go on beside.
    func beginFinish(_ request: LimitRequest, actualTokens: Int) -> () -> Void
}

extension Limiter {
    /// Gives the slot back and corrects the token bucket, as `beginFinish`, and waits.
    public func finish(_ request: LimitRequest, actualTokens: Int) { beginFinish(request, actualTokens: actualTokens)() }
}
