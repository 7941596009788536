import OpenAI
import Server

/// Each limit that a request of this key on this endpoint meets, and where it comes from: what `GET endpoints/{id}/limits` shows.
public struct EndpointLimitList: Sendable, Encodable, Equatable {
    public enum Source: String, Sendable, Encodable { case tier, endpoint, model, upstream, key, project }

    public struct Limit: Sendable, Encodable, Equatable {
        /// As refusals name it in `param`.
        public var name: String
        /// nil = unlimited.
        public var value: Int?
        /// Which of them sets the value.
        public var source: Source
        /// What a request beyond it is answered with; nil = it waits, or is lowered to the limit.
        public var code: String?

        private enum Keys: CodingKey { case name, value, source, code }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(name, forKey: .name)
            try container.encode(value, forKey: .value)
            try container.encode(source, forKey: .source)
            try container.encode(code, forKey: .code)
        }
    }

    public var object = "endpoint.limits"
    public var endpoint: String
    public var tier: String
    public var limits: [Limit]

    init(_ endpoint: EndpointRecord, quota: KeyQuota?) {
        let (tier, own, effective) = (endpoint.tier, endpoint.limits, endpoint.effectiveLimits)
        self.endpoint = endpoint.slug
        self.tier = tier.slug
        func limit(_ name: String, _ value: Int?, own: Int?, _ code: ErrorCode) -> Limit {
            Limit(name: name, value: value, source: own != nil && own == value ? .endpoint : .tier, code: code.name)
        }
        let timeout = Int(effective.requestTimeout.components.seconds)
        limits = [
            limit("requests_per_minute", effective.requestsPerMinute, own: own.requestsPerMinute, .rateLimitExceeded),
            limit("tokens_per_minute", effective.tokensPerMinute, own: own.tokensPerMinute, .rateLimitExceeded),
            limit("max_concurrent", effective.concurrent, own: own.maxConcurrent, .concurrencyExceeded),
            limit("request_timeout_seconds", timeout, own: own.requestTimeoutSeconds, .gatewayTimeout),
            Limit(
                name: "idle_stream_seconds", value: Int(tier.idleStreamTimeout.components.seconds), source: .tier,
                code: ErrorCode.streamIdleTimeout.name),
            Limit(name: "max_tokens", value: own.maxTokens, source: .endpoint, code: nil),
            Limit(name: "max_prompt_tokens", value: own.maxPromptTokens, source: .endpoint, code: ErrorCode.contextLengthExceeded.name),
            Limit(
                name: "context_length", value: endpoint.contextLength, source: .model, code: ErrorCode.contextLengthExceeded.name),
            Limit(
                name: "upstream.max_concurrent", value: endpoint.upstream.maxConcurrent, source: .upstream,
                code: ErrorCode.capacityExceeded.name),
            Limit(
                name: "queue_wait_seconds", value: Int(tier.queueWait.components.seconds), source: .tier,
                code: ErrorCode.capacityExceeded.name),
        ]
        if let quota {
            limits.append(Limit(name: "quota.requests", value: quota.requests, source: .key, code: ErrorCode.quotaExceeded.name))
            if let tokens = quota.tokens {
                limits.append(Limit(name: "quota.tokens", value: tokens, source: .key, code: ErrorCode.quotaExceeded.name))
            }
            limits.append(Limit(name: "quota.window_seconds", value: quota.windowSeconds, source: .key, code: nil))
        }
        if let most = tier.tokensPerMonth {
            limits.append(Limit(name: "tokens_per_month", value: most, source: .tier, code: ErrorCode.quotaExceeded.name))
        }
    }
}
