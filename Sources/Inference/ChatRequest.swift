import Catalog
import JSON
import OpenAI
import Server

/// A checked chat completion request: the members we act on. The rest of the body is passed on as it stands.
package struct ChatRequest {
    var isStream = false
    var includesUsage = false
    var wantsVendorEvents = false
    /// How many answers are asked for.
    package var choices = 1
    /// What the client asked for, before clamping.
    package var maxTokens: Int?
    /// The member that said so: `max_completion_tokens` wins over `max_tokens`.
    var maxTokensName: StaticString = "max_completion_tokens"
    package var profile = RoutingProfile.standard
    /// When false, a turn has at most one tool call; more of them are dropped (02 §6).
    var allowsParallelCalls = true
    /// Messages and tools together, for estimates.
    var promptBytes = 0
    var hasSystemMessage = false
    /// Members that the body has, of those we may add.
    var hasTemperature = false
    var hasTopP = false
    var hasReasoningEffort = false
    /// Logprobs with this many alternatives for each token; nil = no logprobs.
    package private(set) var alternatives: Int?
    /// The highest token id in `logit_bias`.
    private(set) var highestBiasedToken: Int?
    /// `functions`, or messages of their time: `ChatTranslation` makes tools of them.
    private(set) var hasLegacyFunctions = false
    private(set) var hasDevelopers = false
    /// Calls are answered as `function_call`.
    package var answersWithFunctionCall = false
    /// What the messages hold beside text.
    package private(set) var parts = ContentParts()
    /// Who answers.
    package let adapter: EngineAdapter
    /// What the answer must be beyond its form; nil for most.
    var rules: AnswerRules?

    /// `ceil(bytes / 4)`: for rates, clamping and missing usage.
    package var promptEstimate: Int { (promptBytes + 3) / 4 }

    /// Checks every member listed in 02 §2. The first failure wins, in the order of the body.
    /// - Parameter isTranslated: it has been through `ChatTranslation`.
    package init(
        checking root: JSONElement, defaults: EndpointDefaults, adapter: EngineAdapter = .unknown, isTranslated: Bool = false,
        schemas: SchemaCache = SchemaCache()
    ) throws {
        self.adapter = adapter
        let messages = try ChatMessages(checking: root["messages"], isTranslated: isTranslated)
        hasSystemMessage = messages.hasSystemMessage
        (hasLegacyFunctions, hasDevelopers, parts) = (messages.hasLegacyFunctions, messages.hasDevelopers, messages.parts)
        promptBytes = messages.textBytes
        if let tier = defaults.serviceTier.flatMap(RoutingProfile.init(named:)) { profile = tier }
        var completionTokens: Int?
        var topLogprobs: Int?
        var logprobs = false
        var streamOptions: JSONElement?
        var format = ResponseFormat.text
        for member in root.members where !member.value.isNull {
            let value = member.value
            switch member.name {
            case "max_completion_tokens": completionTokens = try Fields.integer(value, "max_completion_tokens", in: 1...Int.max)
            case "max_tokens": maxTokens = try Fields.integer(value, "max_tokens", in: 1...Int.max)
            case "temperature":
                _ = try Fields.number(value, "temperature", in: 0...2)
                hasTemperature = true
            case "top_p":
                _ = try Fields.number(value, "top_p", in: 0...1)
                hasTopP = true
            case "n": choices = try Fields.integer(value, "n", in: 1...8)
            case "stream": isStream = try Fields.bool(value, "stream")
            case "stream_options": streamOptions = value
            case "stop": try Self.check(stop: value)
            case "response_format": format = try ChatTools.read(responseFormat: value, schemas)
            case "parallel_tool_calls": allowsParallelCalls = try Fields.bool(value, "parallel_tool_calls")
            case "logprobs": logprobs = try Fields.bool(value, "logprobs")
            case "top_logprobs": topLogprobs = try Fields.integer(value, "top_logprobs", in: 0...20)
            case "reasoning_effort":
                _ = try Fields.choice(value, "reasoning_effort", of: ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
                hasReasoningEffort = true
            case "prediction": try Self.check(prediction: value)
            case "frequency_penalty": _ = try Fields.number(value, "frequency_penalty", in: -2...2)
            case "presence_penalty": _ = try Fields.number(value, "presence_penalty", in: -2...2)
            case "logit_bias": highestBiasedToken = try Self.check(logitBias: value)
            case "seed": _ = try Fields.integer(value, "seed", in: Int.min...Int.max)
            case "user": _ = try Fields.string(value, "user", atMost: 512)
            case "safety_identifier": _ = try Fields.string(value, "safety_identifier", atMost: 512)
            case "prompt_cache_key": _ = try Fields.string(value, "prompt_cache_key", atMost: 64)
            case "metadata": try Fields.metadata(value)
            case "store": _ = try Fields.bool(value, "store")
            case "service_tier": profile = try RoutingProfile(checking: value)
            case "modalities":
                try Fields.array(value, "modalities")
                guard value.elements.map(\.string) == ["text"] else {
                    throw APIError(.unsupportedModality, "'modalities' must be [\"text\"].", param: "modalities")
                }
            case "audio": throw APIError(.unsupportedModality, "Audio answers are not supported.", param: "audio")
            case "functions", "function_call": try readLegacy(member, root)
            case "web_search_options", "x_conversation", "x_memory", "x_tools", "x_approvals":
                // `false` switches a feature off, and so asks for nothing that is missing.
                if value.bool == false { continue }
                throw APIError(.unsupportedParameter, "'\(member.name)' is not supported by this endpoint.", param: member.name.description)
            case "tools": promptBytes += value.text.count
            default: break
            }
        }
        let tools = try ChatTools(tools: root["tools"], choice: root["tool_choice"], schemas)
        rules = try AnswerRules.read(tools, format, allowsParallelCalls: allowsParallelCalls, for: adapter.traits, schemas)
        if let completionTokens { maxTokens = completionTokens } else { maxTokensName = "max_tokens" }
        if topLogprobs != nil, !logprobs {
            throw APIError(.unsupportedCombination, "'top_logprobs' needs 'logprobs': true.", param: "top_logprobs")
        }
        if logprobs { alternatives = topLogprobs ?? 0 }
        if let streamOptions { try read(streamOptions: streamOptions) }
    }

    /// Of their shape; what is in them is checked as tools.
    private mutating func readLegacy(_ member: JSONElement.Member, _ root: JSONElement) throws {
        let name = member.name.description
        hasLegacyFunctions = true
        for other in [root["tools"], root["tool_choice"]] where other?.isNull == false {
            throw APIError(.unsupportedCombination, "'\(name)' and tools exclude each other.", param: name)
        }
        if name == "functions" {
            try Fields.array(member.value, name)
            guard member.value.elements.first(where: { _ in true }) != nil else {
                throw APIError.invalid(name, "'functions' must not be empty.")
            }
            for (index, function) in member.value.elements.enumerated() where function.kind != .object {
                throw APIError.invalid("functions[\(index)]", "'functions[\(index)]' must be an object.")
            }
            answersWithFunctionCall = true
            return
        }
        guard let functions = root["functions"], !functions.isNull else {
            throw APIError.invalid(name, "'function_call' needs 'functions'.")
        }
        guard ["none", "auto"].contains(member.value.string) || member.value["name"]?.string != nil else {
            throw APIError.invalid(name, "'function_call' must be 'none', 'auto' or an object with a 'name'.")
        }
    }

    private mutating func read(streamOptions: JSONElement) throws {
        guard isStream else {
            throw APIError(.unsupportedCombination, "'stream_options' needs 'stream': true.", param: "stream_options")
        }
        try Fields.object(streamOptions, "stream_options")
        for option in streamOptions.members where !option.value.isNull {
            switch option.name {
            case "include_usage": includesUsage = try Fields.bool(option.value, "stream_options.include_usage")
            case "include_obfuscation": _ = try Fields.bool(option.value, "stream_options.include_obfuscation")
            case "x_events": wantsVendorEvents = try Fields.bool(option.value, "stream_options.x_events")
            default: break
            }
        }
    }

    private static func check(stop: JSONElement) throws {
        func check(_ value: JSONElement, _ name: String) throws {
            let text = try Fields.string(value, name, atMost: 256)
            if text.isEmpty { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        }
        guard stop.kind == .array else { return try check(stop, "stop") }
        let stops = Array(stop.elements)
        guard (1...4).contains(stops.count) else { throw APIError.invalid("stop", "'stop' must have 1 to 4 strings.") }
        for (index, value) in stops.enumerated() { try check(value, "stop[\(index)]") }
    }

    private static func check(prediction: JSONElement) throws {
        try Fields.object(prediction, "prediction")
        guard prediction["type"]?.string == "content" else {
            throw APIError.invalid("prediction.type", "'prediction.type' must be 'content'.")
        }
        guard let content = prediction["content"], content.kind == .string || content.kind == .array else {
            throw APIError.invalid("prediction.content", "'prediction.content' must be a string or an array of text parts.")
        }
        for (index, part) in content.elements.enumerated() where part["type"]?.string != "text" || part["text"]?.utf8 == nil {
            throw APIError.invalid("prediction.content[\(index)]", "'prediction.content[\(index)]' must be a part of type 'text'.")
        }
    }

    /// - Returns: the highest token id.
    private static func check(logitBias: JSONElement) throws -> Int? {
        try Fields.object(logitBias, "logit_bias")
        var count = 0
        var highest: Int?
        for bias in logitBias.members {
            count += 1
            guard count <= 1_024 else { throw APIError.invalid("logit_bias", "'logit_bias' has more than 1024 entries.") }
            guard let token = Int(bias.name.description), token >= 0 else {
                throw APIError.invalid("logit_bias", "The names in 'logit_bias' must be token ids.")
            }
            _ = try Fields.number(bias.value, "logit_bias.\(token)", in: -100...100)
            highest = max(highest ?? 0, token)
        }
        return highest
    }
}
