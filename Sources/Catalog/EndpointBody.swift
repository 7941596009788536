import JSON
import OpenAI
import Server

/// Reads the bodies of the endpoint routes (07 §6). A member that is not known, or not yet, is a 400 that names it: whoever sends it would think that
/// it had an effect.
package struct EndpointBody {
    package private(set) var slug: String?
    package private(set) var change = EndpointChange()

    private static let settable: Set<String> = [
        "slug", "name", "description", "model", "model_version", "tier", "task_mode", "upstream", "limits", "defaults", "retention",
        "prefix_cache", "context_length", "visibility", "metadata", "aliases", "placement", "tools", "memory", "migrate", "quantization",
        "speculative", "kv_cache", "cors",
    ]
    /// What answers show beside.
    private static let shown: Set<String> = [
        "id", "object", "base_url", "status", "status_detail", "generation", "active_version", "workers", "price", "created_at",
        "updated_at", "last_request_at",
    ]

    /// - Parameter isWhole: POST and PUT say all of an endpoint, PATCH some of it.
    package init(_ root: JSONElement, isWhole: Bool) throws {
        change.isWhole = isWhole
        for member in root.members where !Self.settable.contains(member.name.description) {
            throw Self.unknown(member.name.description, isShown: Self.shown.contains(member.name.description))
        }
        slug = try value(root["slug"]).map { try Fields.string($0, "slug") }
        try readTexts(root)
        change.tier = try required(root["tier"], "tier") { try Fields.string($0, $1) }
        try readModes(root)
        try readAliases(root["aliases"])
        try readUpstream(root["upstream"])
        try readPlacement(root["placement"])
        try readLimits(root["limits"])
        try readDefaults(root["defaults"])
        try readRetention(root["retention"])
        change.contextLength = try optional(root["context_length"], \.contextLength) {
            try Fields.integer($0, "context_length", in: 1...100_000_000)
        }
        change.metadata = try optional(root["metadata"], \.metadata) { try Fields.metadata($0) }
        change.cors = try optional(root["cors"], \.cors) { try CORSPolicy($0, at: "cors") }
        try refuseWhatNeedsWorkers(root)
    }

    private static func unknown(_ name: String, isShown: Bool = false) -> APIError {
        let name = String(name.prefix(128))
        return APIError(.unsupportedParameter, isShown ? "'\(name)' cannot be set." : "'\(name)' is unknown here.", param: name)
    }

    // MARK: Members at the top

    private mutating func readTexts(_ root: JSONElement) throws {
        change.name = try optional(root["name"], \.name) { try Self.filled($0, "name") }
        change.description = try optional(root["description"], \.description) { try Fields.string($0, "description") }
        change.model = try optional(root["model"], \.model) { try Self.filled($0, "model") }
        change.modelVersion = try optional(root["model_version"], \.modelVersion) { try Fields.string($0, "model_version", atMost: 64) }
    }

    private mutating func readModes(_ root: JSONElement) throws {
        change.taskMode = try optional(root["task_mode"], \.taskMode) {
            let name = try Fields.choice($0, "task_mode", of: ["generate", "chat", "embed", "score"])
            return name == "chat" ? .generate : TaskMode(rawValue: name)
        }
        change.visibility = try optional(root["visibility"], \.visibility) {
            EndpointVisibility(rawValue: try Fields.choice($0, "visibility", of: ["project", "public_key"]))
        }
        change.prefixCache = try optional(root["prefix_cache"], \.prefixCache) { try Fields.bool($0, "prefix_cache") }
    }

    private mutating func readAliases(_ element: JSONElement?) throws {
        change.aliases = try optional(element, \.aliases) { element in
            try Fields.array(element, "aliases")
            return try element.elements.enumerated().map { try Fields.string($1, "aliases[\($0)]") }
        }
    }

    // MARK: Objects

    private mutating func readUpstream(_ element: JSONElement?) throws {
        guard
            let element = try object(
                element, "upstream",
                knows: ["url", "urls", "model", "api_key", "api", "timeout_ms", "health_path", "headers", "max_concurrent", "engine"])
        else {
            // Without an upstream the platform's own workers would have to serve.
            if element != nil { change.reset(\.upstream) }
            return
        }
        try readURLs(element)
        // Who names an upstream means one; who has none for agents leaves it out.
        if change.isWhole && change.urls.isEmpty {
            throw APIError(
                .missingRequiredParameter, "Give the URL of the model server, or leave 'upstream' out: then agents serve the model.",
                param: "upstream.url")
        }
        change.upstreamModel = try optional(element["model"], \.upstream.model) { try Fields.string($0, "upstream.model") }
        change.upstreamKey = try value(element["api_key"]).map { element in
            let key = try Fields.string(element, "upstream.api_key")
            try EndpointRules.check(headerText: key, "upstream.api_key")
            return key
        }
        change.removesUpstreamKey = element["api_key"]?.isNull ?? false
        change.engine = try optional(element["engine"], \.upstream.engine) {
            let name = try Fields.choice($0, "upstream.engine", of: ["auto"] + Engine.allCases.map(\.rawValue))
            return EngineChoice(named: name)
        }
        _ = try value(element["api"]).map { try Fields.choice($0, "upstream.api", of: ["openai"]) }
        change.timeoutMilliseconds = try optional(element["timeout_ms"], \.upstream.timeoutMilliseconds) {
            try Fields.integer($0, "upstream.timeout_ms", in: 1...3_600_000)
        }
        change.healthPath = try optional(element["health_path"], \.upstream.healthPath) {
            try Fields.string($0, "upstream.health_path")
        }
        change.maxConcurrent = try optional(element["max_concurrent"], \.upstream.maxConcurrent) {
            try Fields.integer($0, "upstream.max_concurrent", in: 1...1_000_000)
        }
        change.headers = try optional(element["headers"], \.upstream.headers) { headers in
            try Fields.object(headers, "upstream.headers")
            var found: [String: String] = [:]
            for header in headers.members {
                let name = header.name.description
                guard found.updateValue(try Fields.string(header.value, "upstream.headers"), forKey: name) == nil else {
                    throw APIError.invalid("upstream.headers", "A header stands twice.")
                }
            }
            return found
        }
    }

    private mutating func readURLs(_ upstream: JSONElement) throws {
        let (one, several) = (value(upstream["url"]), value(upstream["urls"]))
        if let one, several == nil { change.urls = [try Fields.string(one, "upstream.url")] }
        guard let several else { return }
        guard one == nil else {
            throw APIError(.unsupportedCombination, "'upstream.url' and 'upstream.urls' exclude each other.", param: "upstream.urls")
        }
        try Fields.array(several, "upstream.urls")
        change.urls = try several.elements.enumerated().map { try Fields.string($1, "upstream.urls[\($0)]") }
        guard !change.urls.isEmpty else { throw APIError.invalid("upstream.urls", "An upstream has at least one URL.") }
    }

    private mutating func readPlacement(_ element: JSONElement?) throws {
        guard let element = try object(element, "placement", knows: ["agents", "regions", "allow_shared_fallback"]) else {
            if element != nil { change.reset(\.placement) }
            return
        }
        var placement = PlacementChange()
        placement.agents = try optional(element["agents"], \.placement.agents) { try Self.texts($0, "placement.agents") }
        placement.regions = try optional(element["regions"], \.placement.regions) { try Self.texts($0, "placement.regions") }
        placement.allowsSharedFallback = try optional(element["allow_shared_fallback"], \.placement.allowsSharedFallback) {
            try Fields.bool($0, "placement.allow_shared_fallback")
        }
        change.placement = placement
    }

    private static func texts(_ element: JSONElement, _ name: String) throws -> [String] {
        try Fields.array(element, name)
        return try element.elements.enumerated().map { try Fields.string($1, "\(name)[\($0)]") }
    }

    private mutating func readLimits(_ element: JSONElement?) throws {
        guard let element = try object(element, "limits", knows: EndpointLimits.names) else {
            if element != nil { change.reset(\.limits) }
            return
        }
        var limits = EndpointLimits()
        limits.requestsPerMinute = try limit(element["requests_per_minute"], "requests_per_minute", \.limits.requestsPerMinute)
        limits.tokensPerMinute = try limit(element["tokens_per_minute"], "tokens_per_minute", \.limits.tokensPerMinute)
        limits.maxConcurrent = try limit(element["max_concurrent"], "max_concurrent", \.limits.maxConcurrent)
        limits.maxTokens = try limit(element["max_tokens"], "max_tokens", \.limits.maxTokens)
        limits.maxPromptTokens = try limit(element["max_prompt_tokens"], "max_prompt_tokens", \.limits.maxPromptTokens)
        limits.requestTimeoutSeconds = try limit(
            element["request_timeout_seconds"], "request_timeout_seconds", \.limits.requestTimeoutSeconds)
        change.limits = limits
    }

    private mutating func limit(
        _ element: JSONElement?, _ name: String, _ member: WritableKeyPath<EndpointSettings, Int?> & Sendable
    ) throws -> Int? {
        try optional(element, member) { try Fields.integer($0, "limits.\(name)", in: 1...Int.max) }
    }

    private mutating func readDefaults(_ element: JSONElement?) throws {
        guard let element = try object(element, "defaults", knows: EndpointDefaults.names) else {
            if element != nil { change.reset(\.defaults) }
            return
        }
        var defaults = EndpointDefaults()
        defaults.temperature = try optional(element["temperature"], \.defaults.temperature) {
            try Fields.number($0, "defaults.temperature", in: 0...2)
        }
        defaults.topP = try optional(element["top_p"], \.defaults.topP) { try Fields.number($0, "defaults.top_p", in: 0...1) }
        defaults.systemPrompt = try optional(element["system_prompt"], \.defaults.systemPrompt) {
            try Fields.string($0, "defaults.system_prompt")
        }
        defaults.serviceTier = try optional(element["service_tier"], \.defaults.serviceTier) {
            try Fields.choice($0, "defaults.service_tier", of: EndpointRules.serviceTiers)
        }
        defaults.reasoningEffort = try optional(element["reasoning_effort"], \.defaults.reasoningEffort) {
            try Fields.choice($0, "defaults.reasoning_effort", of: EndpointRules.efforts)
        }
        change.defaults = defaults
    }

    private mutating func readRetention(_ element: JSONElement?) throws {
        guard let element = try object(element, "retention", knows: ["store", "days"]) else {
            if element != nil { change.reset(\.retention) }
            return
        }
        change.storesAnswers = try optional(element["store"], \.retention.store) { try Fields.bool($0, "retention.store") }
        change.retentionDays = try optional(element["days"], \.retention.days) {
            try Fields.integer($0, "retention.days", in: 1...3_650)
        }
    }

    // MARK: What is not there yet

    /// These steer workers that load models. Until there are any, they can be given as they are shown, and not otherwise.
    private func refuseWhatNeedsWorkers(_ root: JSONElement) throws {
        for name in ["quantization", "speculative", "kv_cache"] as [StaticString] where value(root[name]) != nil {
            throw Self.notYet("\(name)")
        }
        if let migrate = value(root["migrate"]), try Fields.bool(migrate, "migrate") { throw Self.notYet("migrate") }
        if let tools = try object(root["tools"], "tools", knows: ["server_tools", "mcp_servers", "max_iterations"]) {
            try refuseElements(of: tools["server_tools"], "tools.server_tools")
            try refuseElements(of: tools["mcp_servers"], "tools.mcp_servers")
            if let most = value(tools["max_iterations"]), try Fields.integer(most, "tools.max_iterations", in: 1...50) != 10 {
                throw Self.notYet("tools.max_iterations")
            }
        }
        if let memory = try object(root["memory"], "memory", knows: ["mode", "workspace_id"]) {
            if let mode = value(memory["mode"]), try Fields.choice(mode, "memory.mode", of: ["off", "read", "read_write"]) != "off" {
                throw Self.notYet("memory.mode")
            }
            if value(memory["workspace_id"]) != nil { throw Self.notYet("memory.workspace_id") }
        }
    }

    private func refuseElements(of element: JSONElement?, _ name: String) throws {
        guard let element = value(element) else { return }
        try Fields.array(element, name)
        if element.elements.first(where: { _ in true }) != nil { throw Self.notYet(name) }
    }

    private static func notYet(_ name: String) -> APIError {
        APIError(.unsupportedValue, "'\(name)' needs a part of the platform that is not available yet; leave it out.", param: name)
    }

    // MARK: Reading

    private static func filled(_ element: JSONElement, _ name: String) throws -> String {
        let text = try Fields.string(element, name)
        guard !text.isEmpty else { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        return text
    }

    private func value(_ element: JSONElement?) -> JSONElement? { element.flatMap { $0.isNull ? nil : $0 } }

    /// nil when it is absent; null puts the member back to its default.
    private mutating func optional<Value, Member>(
        _ element: JSONElement?, _ member: WritableKeyPath<EndpointSettings, Member> & Sendable, _ read: (JSONElement) throws -> Value?
    ) throws -> Value? {
        guard let element else { return nil }
        guard !element.isNull else {
            change.reset(member)
            return nil
        }
        return try read(element)
    }

    /// nil when it is absent and may be; it cannot be null.
    private func required<Value>(_ element: JSONElement?, _ name: String, _ read: (JSONElement, String) throws -> Value) throws -> Value? {
        guard let element = value(element) else {
            if change.isWhole || element != nil { throw APIError.missing(name) }
            return nil
        }
        return try read(element, name)
    }

    private func object(_ element: JSONElement?, _ name: String, knows known: Set<String>) throws -> JSONElement? {
        guard let element = value(element) else { return nil }
        try Fields.object(element, name)
        for member in element.members where !known.contains(member.name.description) {
            throw Self.unknown("\(name).\(member.name)")
        }
        return element
    }
}
