import HTTPClient
import OpenAI
import Server

/// What the settings of an endpoint may be (07 §6), whoever sets them and however: one check of the whole, after every change.
enum EndpointRules {
    static let mostURLs = 16
    static let mostAliases = 16
    static let mostHeaders = 32
    /// Agents, or regions, that an endpoint names.
    static let mostPlaces = 100
    /// On a project, whatever its tiers.
    static let mostEndpoints = 100
    static let serviceTiers = ["auto", "default", "priority", "fast", "latency", "scale", "throughput", "flex", "cost"]
    static let efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]

    /// - Throws: `APIError` 400 that names the field.
    static func check(slug: String) throws {
        guard Slug.isEndpoint(slug) else {
            throw APIError.invalid("slug", "An endpoint slug has 1 to 48 characters of a-z, 0-9 and -, and neither starts nor ends with -.")
        }
        guard !Slug.reserved.contains(slug) else { throw APIError.invalid("slug", "'\(slug)' is a reserved word.") }
    }

    /// - Parameters:
    ///   - old: what was there before. What the operator has changed since, a tier or the list of hosts, does not stand in the way of other changes.
    ///   - outbound: says which hosts the operator has listed; nil = the operator asks.
    /// - Throws: `APIError` that names the field: 400, or 403 for a tier that the upstream may not serve.
    static func check(_ settings: EndpointSettings, old: EndpointSettings?, tier: ServiceTier, outbound: OutboundGuard?) throws {
        try check(text: settings.name, "name", in: 1...128)
        try check(text: settings.description, "description", in: 0...512, allowsBreaks: true)
        guard isModelName(settings.model) else {
            throw APIError.invalid("model", "A model's name has 1 to 128 characters of A-Z, a-z, 0-9 and . _ / -.")
        }
        try check(aliases: settings.aliases)
        try check("context_length", settings.contextLength, in: 1...100_000_000)
        try check("retention.days", settings.retention.days, in: 1...3_650)
        try check(settings.upstream)
        try check(settings.placement)
        try check(settings.defaults)
        let isSameTier = old?.tier == settings.tier
        if !isSameTier || old?.limits != settings.limits { try check(settings.limits, tier) }
        if let outbound, !isSameTier || old?.upstream.urls != settings.upstream.urls {
            try check(tier, serves: settings.upstream.urls, outbound)
        }
    }

    static func isModelName(_ text: String) -> Bool { text.wholeMatch(of: /[A-Za-z0-9._\/-]{1,128}/) != nil }

    private static func check(aliases: [String]) throws {
        guard aliases.count <= mostAliases else { throw APIError.invalid("aliases", "An endpoint has at most \(mostAliases) aliases.") }
        for (index, alias) in aliases.enumerated() {
            guard alias.wholeMatch(of: /[A-Za-z0-9._\/:@-]{1,128}/) != nil else {
                throw APIError.invalid("aliases[\(index)]", "An alias has 1 to 128 characters of A-Z, a-z, 0-9 and . _ / : @ -.")
            }
            guard !aliases[..<index].contains(alias) else { throw APIError.invalid("aliases[\(index)]", "'\(alias)' stands twice.") }
        }
    }

    private static func check(_ upstream: UpstreamSettings) throws {
        // Without an upstream agents serve it. What is said of an upstream is said of one.
        guard !upstream.urls.isEmpty || upstream == UpstreamSettings(urls: []) else {
            throw APIError(
                .missingRequiredParameter, "Give 'upstream' with the URL of a model server, or leave it out: then agents serve the model.",
                param: "upstream.url")
        }
        if let model = upstream.model { try check(text: model, "upstream.model", in: 1...256) }
        try check("upstream.timeout_ms", upstream.timeoutMilliseconds, in: 1...3_600_000)
        try check("upstream.max_concurrent", upstream.maxConcurrent, in: 1...1_000_000)
        let path = upstream.healthPath
        guard path.hasPrefix("/"), path.utf8.count <= 512, path.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") })
        else {
            throw APIError.invalid("upstream.health_path", "A health path starts with /, has at most 512 characters, no spaces and no #.")
        }
        try check(headers: upstream.headers)
    }

    private static func check(_ placement: EndpointPlacement) throws {
        try check(places: placement.agents, "placement.agents", "is no identifier of an agent") {
            $0.wholeMatch(of: /agt_[0-9a-z]{24}/) != nil
        }
        try check(places: placement.regions, "placement.regions", "is no region: 1 to 24 ASCII characters without spaces and colons") {
            EndpointPlacement.isRegion($0)
        }
    }

    private static func check(places: [String], _ name: String, _ problem: String, _ isOne: (String) -> Bool) throws {
        guard places.count <= mostPlaces else { throw APIError.invalid(name, "'\(name)' has at most \(mostPlaces) entries.") }
        for (index, place) in places.enumerated() {
            guard isOne(place) else { throw APIError.invalid("\(name)[\(index)]", "'\(place.prefix(64))' \(problem).") }
            guard !places[..<index].contains(place) else { throw APIError.invalid("\(name)[\(index)]", "'\(place)' stands twice.") }
        }
    }

    private static func check(headers: [String: String]) throws {
        guard headers.count <= mostHeaders else {
            throw APIError.invalid("upstream.headers", "An upstream has at most \(mostHeaders) headers.")
        }
        guard Set(headers.keys.map { $0.lowercased() }).count == headers.count else {
            throw APIError.invalid("upstream.headers", "A header stands twice.")
        }
        for (name, value) in headers {
            guard name.wholeMatch(of: /[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}/) != nil else {
                throw APIError.invalid("upstream.headers", "'\(name.prefix(128))' is not the name of a header.")
            }
            guard !UpstreamSettings.isOwnHeader(name) else {
                throw APIError.invalid("upstream.headers", "The header '\(name)' cannot be set.")
            }
            guard name.lowercased() != "authorization" else {
                throw APIError.invalid("upstream.headers", "Give the upstream's key as 'upstream.api_key', which is stored sealed.")
            }
            try check(headerText: value, "upstream.headers")
        }
    }

    /// A line break would let one header become two.
    static func check(headerText: String, _ param: String) throws {
        guard (1...8_192).contains(headerText.utf8.count), headerText.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw APIError.invalid(param, "A header's value has 1 to 8192 bytes and no control characters.")
        }
    }

    /// Each limit only lowers the tier's.
    private static func check(_ limits: EndpointLimits, _ tier: ServiceTier) throws {
        func check(_ name: String, _ value: Int?, tier most: Int?) throws {
            guard let value else { return }
            guard value >= 1 else { throw APIError.invalid("limits.\(name)", "limits.\(name) is at least 1, not \(value).") }
            guard let most, value > most else { return }
            throw APIError.invalid(
                "limits.\(name)", "limits.\(name) can only lower the limit of the tier '\(tier.slug)', which is \(most); \(value) is more.")
        }
        try check("requests_per_minute", limits.requestsPerMinute, tier: tier.requestsPerMinute ?? Int(Int32.max))
        try check("tokens_per_minute", limits.tokensPerMinute, tier: tier.tokensPerMinute ?? Int(Int32.max))
        try check("max_concurrent", limits.maxConcurrent, tier: tier.concurrent)
        try check("max_tokens", limits.maxTokens, tier: nil)
        try check("max_prompt_tokens", limits.maxPromptTokens, tier: nil)
        try check("request_timeout_seconds", limits.requestTimeoutSeconds, tier: Int(tier.requestTimeout.components.seconds))
    }

    private static func check(_ defaults: EndpointDefaults) throws {
        if let value = defaults.temperature, !(0...2).contains(value) {
            throw APIError.invalid("defaults.temperature", "temperature is from 0 to 2.")
        }
        if let value = defaults.topP, !(0...1).contains(value) { throw APIError.invalid("defaults.top_p", "top_p is from 0 to 1.") }
        if let value = defaults.systemPrompt {
            try check(text: value, "defaults.system_prompt", in: 1...32_768, allowsBreaks: true)
        }
        if let value = defaults.serviceTier, !serviceTiers.contains(value) {
            throw APIError.invalid("defaults.service_tier", "service_tier is one of \(serviceTiers.joined(separator: ", ")).")
        }
        if let value = defaults.reasoningEffort, !efforts.contains(value) {
            throw APIError.invalid("defaults.reasoning_effort", "reasoning_effort is one of \(efforts.joined(separator: ", ")).")
        }
    }

    /// Servers that the operator has not listed are the tenant's own: they cannot serve a tier that the platform sells.
    private static func check(_ tier: ServiceTier, serves urls: [String], _ outbound: OutboundGuard) throws {
        guard tier.slug != ServiceTier.selfHosted else { return }
        for text in urls {
            if let url = try? OutboundURL(text), outbound.isListed(url) { continue }
            throw APIError(
                .tierNotAllowed,
                "An upstream that the operator has not listed serves the tier '\(ServiceTier.selfHosted)' only, not '\(tier.slug)'.",
                param: "tier")
        }
    }

    private static func check(_ param: String, _ value: Int?, in range: ClosedRange<Int>) throws {
        guard let value, !range.contains(value) else { return }
        throw APIError.invalid(param, "\(param) is from \(range.lowerBound) to \(range.upperBound), not \(value).")
    }

    private static func check(text: String, _ param: String, in range: ClosedRange<Int>, allowsBreaks: Bool = false) throws {
        let isPlain = text.unicodeScalars.allSatisfy {
            ($0.value >= 0x20 && $0.value != 0x7F) || (allowsBreaks && ["\n", "\r", "\t"].contains($0))
        }
        guard range.contains(text.unicodeScalars.count), isPlain, text.isEmpty || !text.allSatisfy(\.isWhitespace) else {
            throw APIError.invalid(
                param,
                range.lowerBound == 0
                    ? "\(param) has at most \(range.upperBound) characters and no control characters."
                    : "\(param) has 1 to \(range.upperBound) characters, no control characters, and is not blank.")
        }
    }
}

extension ServiceTier {
    /// The tier of servers that the tenant brings.
    public static let selfHosted = "self_hosted"
}
