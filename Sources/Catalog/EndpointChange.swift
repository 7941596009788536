import Foundation
import HTTPClient
import OpenAI
import Server

/// What shall be set on an endpoint; nil = as it is, or the default on a new one.
public struct EndpointChange: Sendable {
    public var tier: String?
    public var model: String?
    public var taskMode: TaskMode?
    /// Empty = as they are.
    public var urls: [String] = []
    public var aliases: [String]?
    public var upstreamModel: String?
    public var upstreamKey: String?
    public var healthPath: String?
    public var headers: [String: String]?
    public var timeoutMilliseconds: Int?
    public var maxConcurrent: Int?
    public var contextLength: Int?
    public var limits: EndpointLimits?
    public var defaults: EndpointDefaults?
    public var status: EndpointRecord.Status?

    public init() {}
}

extension EndpointChange {
    /// Checks what can be checked without the database.
    /// - Throws: `APIError` 400 that names the field.
    func check(_ outbound: OutboundGuard) throws {
        guard urls.count <= 16 else { throw APIError.invalid("upstream.urls", "An upstream has at most 16 URLs.") }
        try urls.forEach { try Self.check(url: $0, outbound) }
        try Self.check("upstream.timeout_ms", timeoutMilliseconds, in: 1...3_600_000)
        try Self.check("upstream.max_concurrent", maxConcurrent, in: 1...1_000_000)
        try Self.check("context_length", contextLength, in: 1...100_000_000)
        if let healthPath, !healthPath.hasPrefix("/") || healthPath.contains(where: \.isWhitespace) {
            throw APIError.invalid("upstream.health_path", "A health path starts with / and has no spaces.")
        }
        if let model, model.wholeMatch(of: /[A-Za-z0-9._\/-]{1,128}/) == nil {
            throw APIError.invalid("model", "A model's name has 1 to 128 characters of A-Z, a-z, 0-9 and . _ / -.")
        }
        if let status, status != .active && status != .inactive {
            throw APIError.invalid("status", "The status can be set to active or inactive.")
        }
        if let upstreamKey { try Self.check(headerText: upstreamKey, "upstream.api_key") }
        for (name, value) in headers ?? [:] {
            guard name.wholeMatch(of: /[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}/) != nil else {
                throw APIError.invalid("upstream.headers", "'\(name)' is not the name of a header.")
            }
            guard !UpstreamSettings.isOwnHeader(name) else {
                throw APIError.invalid("upstream.headers", "The header '\(name)' cannot be set.")
            }
            try Self.check(headerText: value, "upstream.headers")
        }
        try checkDefaults()
    }

    /// Each limit only lowers the tier's.
    func checkLimits(against tier: ServiceTier) throws {
        guard let limits else { return }
        try Self.check("limits.requests_per_minute", limits.requestsPerMinute, in: 1...(tier.requestsPerMinute ?? .max))
        try Self.check("limits.tokens_per_minute", limits.tokensPerMinute, in: 1...(tier.tokensPerMinute ?? .max))
        try Self.check("limits.max_concurrent", limits.maxConcurrent, in: 1...tier.concurrent)
        try Self.check("limits.max_tokens", limits.maxTokens, in: 1...Int.max)
        try Self.check("limits.max_prompt_tokens", limits.maxPromptTokens, in: 1...Int.max)
        try Self.check("limits.request_timeout_seconds", limits.requestTimeoutSeconds, in: 1...Int(tier.requestTimeout.components.seconds))
    }

    private func checkDefaults() throws {
        guard let defaults else { return }
        if let value = defaults.temperature, !(0...2).contains(value) {
            throw APIError.invalid("defaults.temperature", "temperature is from 0 to 2.")
        }
        if let value = defaults.topP, !(0...1).contains(value) { throw APIError.invalid("defaults.top_p", "top_p is from 0 to 1.") }
        let tiers = ["auto", "default", "priority", "fast", "latency", "scale", "throughput", "flex", "cost"]
        if let value = defaults.serviceTier, !tiers.contains(value) {
            throw APIError.invalid("defaults.service_tier", "service_tier is one of \(tiers.joined(separator: ", ")).")
        }
        let efforts = ["none", "minimal", "low", "medium", "high", "xhigh"]
        if let value = defaults.reasoningEffort, !efforts.contains(value) {
            throw APIError.invalid("defaults.reasoning_effort", "reasoning_effort is one of \(efforts.joined(separator: ", ")).")
        }
    }

    /// A host that nobody knows yet may come to be known; each connection is checked again.
    private static func check(url text: String, _ outbound: OutboundGuard) throws {
        guard !text.contains("?"), !text.contains("#") else {
            throw APIError.invalid("upstream.url", "The URL of an upstream has no query and no fragment.")
        }
        do throws(OutboundRefusal) {
            _ = try outbound.vet(try outbound.check(text), within: .seconds(2))
        } catch {
            if case .unreachable = error { return }
            throw error.apiError(param: "upstream.url")
        }
    }

    private static func check(_ param: String, _ value: Int?, in range: ClosedRange<Int>) throws {
        guard let value, !range.contains(value) else { return }
        let bound = range.upperBound == .max ? "at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
        throw APIError.invalid(param, "\(param) is \(bound), not \(value).")
    }

    /// A line break would let one header become two.
    private static func check(headerText: String, _ param: String) throws {
        guard headerText.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw APIError.invalid(param, "A header's value has no control characters.")
        }
    }
}

extension EndpointLimits {
    /// The members of its JSON object.
    public static let names: Set<String> = [
        "requests_per_minute", "tokens_per_minute", "max_concurrent", "max_tokens", "max_prompt_tokens", "request_timeout_seconds",
    ]
}

extension EndpointDefaults {
    /// The members of its JSON object.
    public static let names: Set<String> = ["temperature", "top_p", "system_prompt", "service_tier", "reasoning_effort"]
}
