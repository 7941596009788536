import Catalog
import JSON
import OpenAI
import Server

/// A checked chat completion request: the members we act on. The rest of the body is passed on as it stands.
package struct ChatRequest {
    package private(set) var options: GenerationOptions
    /// What the client asked for, before clamping.
    package var maxTokens: Int?
    /// The member that said so: `max_completion_tokens` wins over `max_tokens`.
    package var maxTokensName: StaticString = "max_completion_tokens"
    /// When false, a turn has at most one tool call; more of them are dropped (02 §6).
    var allowsParallelCalls = true
    /// Messages and tools together, for estimates.
    var promptBytes = 0
    var hasSystemMessage = false
    /// The body has one.
    var hasReasoningEffort = false
    /// Logprobs with this many alternatives for each token; nil = no logprobs.
    package private(set) var alternatives: Int?
    /// `functions`, or messages of their time: `ChatTranslation` makes tools of them.
    private(set) var hasLegacyFunctions = false
    private(set) var hasDevelopers = false
    /// Calls are answered as `function_call`.
    package var answersWithFunctionCall = false
    /// What the messages hold beside text.
    package private(set) var parts = ContentParts()
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
        options = GenerationOptions(defaults: defaults)
        let messages = try ChatMessages(checking: root["messages"], isTranslated: isTranslated)
        hasSystemMessage = messages.hasSystemMessage
        (hasLegacyFunctions, hasDevelopers, parts) = (messages.hasLegacyFunctions, messages.hasDevelopers, messages.parts)
        promptBytes = messages.textBytes
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
            case "stream_options": streamOptions = value
            case "response_format": format = try ChatTools.read(responseFormat: value, schemas)
            case "parallel_tool_calls": allowsParallelCalls = try Fields.bool(value, "parallel_tool_calls")
            case "logprobs": logprobs = try Fields.bool(value, "logprobs")
            case "top_logprobs": topLogprobs = try Fields.integer(value, "top_logprobs", in: 0...20)
            case "reasoning_effort":
                _ = try Fields.choice(value, "reasoning_effort", of: ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
                hasReasoningEffort = true
            case "prediction": try Self.check(prediction: value)
            case "safety_identifier": _ = try Fields.string(value, "safety_identifier", atMost: 512)
            case "prompt_cache_key": _ = try Fields.string(value, "prompt_cache_key", atMost: 64)
            case "metadata": try Fields.metadata(value)
            case "store": _ = try Fields.bool(value, "store")
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
            default: try options.read(member)
            }
        }
        let tools = try ChatTools(tools: root["tools"], choice: root["tool_choice"], schemas)
        rules = try AnswerRules.read(tools, format, allowsParallelCalls: allowsParallelCalls, for: adapter.traits, schemas)
        if let completionTokens { maxTokens = completionTokens } else { maxTokensName = "max_tokens" }
        if topLogprobs != nil, !logprobs {
            throw APIError(.unsupportedCombination, "'top_logprobs' needs 'logprobs': true.", param: "top_logprobs")
        }
        if logprobs { alternatives = topLogprobs ?? 0 }
        if let streamOptions { try options.read(streamOptions: streamOptions) }
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
}

extension ChatRequest: GenerationRequest {
    package static var path: String { "chat/completions" }
    package static var surface: Surface { .chat }
    package static var idPrefix: String { ChatCompletion.idPrefix }
    package var prompts: Int { 1 }
    package var mostPromptTokens: Int { (promptBytes + 1) / 2 }
    package var longestPrompt: InputLength {
        InputLength(name: "messages", estimate: promptEstimate, least: promptBytes / 6, most: mostPromptTokens)
    }

    package func answer(rewriting root: JSONElement, as identity: AnswerIdentity) throws -> ChatAnswer {
        try ChatAnswer(rewriting: root, as: identity, self)
    }

    package func grammar(_ identity: AnswerIdentity, vendorEvents: Bool) -> ChatStreamGrammar {
        ChatStreamGrammar(identity, self, vendorEvents: vendorEvents)
    }
}
