import Catalog
import JSON
import OpenAI

/// Makes the body an upstream gets out of the body a client sent: members are kept, replaced, dropped or added as text.
package struct UpstreamBody {
    /// Lowered limits by member name, as shown in `X-Xerotier-Clamped`.
    package private(set) var clamps: [Clamp] = []

    package struct Clamp: Equatable {
        package var name: String
        package var from: Int
        package var to: Int
        /// `max_tokens=4096->1024`
        package var description: String { "\(name)=\(from)->\(to)" }
    }

    /// The longest answer by what the client asked for, the endpoint allows and the context leaves; nil where only the engine knows.
    package let mostTokens: Int?
    /// The limit to be sent, and what was asked for; nil = none.
    private let limit: (asked: Int, sent: Int)?
    private let limitName: String
    private var json = JSONWriter(capacity: 4096)
    private var isFirst = true

    package var bytes: [UInt8] { json.bytes }

    /// A chat's body.
    /// - Parameter cacheSalt: for engines that take one.
    package init(of root: JSONElement, _ chat: ChatRequest, for endpoint: EndpointRecord, cacheSalt: String? = nil) throws {
        try Self.checkParts(chat, endpoint)
        try self.init(limiting: chat, for: endpoint)
        for member in root.members where !Self.isLeftOut(member) {
            switch member.name {
            case "messages" where chat.rules?.guide != nil:
                begin("messages")
                let own = chat.hasSystemMessage ? nil : endpoint.defaults.systemPrompt
                chat.rules?.guide?.write(member.value, after: own, to: &json)
            case "messages" where !chat.hasSystemMessage && endpoint.defaults.systemPrompt != nil:
                messages(member.value, after: endpoint.defaults.systemPrompt ?? "")
            // Written anew by what the engine makes of it.
            case "top_logprobs" where chat.dropsAlternatives: continue
            case "reasoning_effort" where member.value.isNull: continue
            default:
                if let rules = chat.rules, rules.replaced[member.name.description] != nil { continue }
                copy(member)
            }
        }
        for case (let name, .some(let text)) in chat.rules?.replaced ?? [:] {
            begin(name)
            json.raw(text)
        }
        if !chat.hasReasoningEffort, let effort = endpoint.defaults.reasoningEffort {
            begin("reasoning_effort")
            json.string(effort)
        }
        if chat.dropsAlternatives { add("top_logprobs", 1) }
        finish(chat.options, for: endpoint, cacheSalt: cacheSalt)
    }

    /// An empty body, and how long the answers may be.
    init(limiting asked: some GenerationRequest, for endpoint: EndpointRecord) throws {
        try Self.checkTokens(asked.options, endpoint)
        let most = try Self.tokenLimit(asked, endpoint)
        limit = (asked.maxTokens ?? most).map { ($0, min($0, most ?? $0)) }
        limitName = asked.maxTokens == nil ? "max_tokens" : "\(asked.maxTokensName)"
        let room = endpoint.mostContext.map { $0 - asked.longestPrompt.estimate }
        mostTokens = limit?.sent ?? room.flatMap { $0 > 0 ? $0 : nil }
        json.raw("{" as StaticString)
    }

    static func isLeftOut(_ member: JSONElement.Member) -> Bool {
        switch member.name {
        // Written anew in `finish` and `close`.
        case "model", "stream_options", "max_tokens", "max_completion_tokens": true
        // llama.cpp's own names of the length and number of answers, which would win over what was checked, held and lowered.
        case "n_predict", "n_cmpl": true
        // For us.
        case "store", "metadata", "service_tier": true
        // Set by the router alone (02 §1).
        case "cache_salt", "kv_transfer_params", "lora_request", "priority", "request_id": true
        // The same in llama.cpp: the place that holds the cache of others, and adapters of one request.
        case "id_slot", "lora": true
        case "temperature", "top_p": member.value.isNull
        default: member.name.hasPrefix(Vendor.memberPrefix)
        }
    }

    /// Writes what we say ourselves, but for the length of the answers.
    mutating func finish(_ options: GenerationOptions, for endpoint: EndpointRecord, cacheSalt: String?) {
        begin("model")
        json.string(endpoint.upstreamModel)
        if !options.hasTemperature {
            begin("temperature")
            json.number(endpoint.defaults.temperature ?? EndpointDefaults.usualTemperature)
        }
        if !options.hasTopP {
            begin("top_p")
            json.number(endpoint.defaults.topP ?? EndpointDefaults.usualTopP)
        }
        if let cacheSalt {
            begin("cache_salt")
            json.string(cacheSalt)
        }
        if options.isStream {
            begin("stream_options")
            json.raw(#"{"include_usage":true}"#)
        }
    }

    mutating func copy(_ member: JSONElement.Member) {
        begin(member.name.utf8)
        json.raw(member.value.text)
    }

    mutating func add(_ name: String, _ value: Int) {
        begin(name)
        json.integer(value)
    }

    /// Completes the body.
    /// - Parameter payable: the most tokens that the project can pay for, where that is known to be less than was asked for.
    package mutating func close(payable: Int?) {
        if let sent = [limit?.sent, payable].compactMap(\.self).min() {
            let asked = limit?.asked ?? mostTokens ?? OutputCredit.step
            if sent < asked { clamps.append(Clamp(name: limitName, from: asked, to: sent)) }
            begin(limitName)
            json.integer(sent)
        }
        json.raw("}" as StaticString)
    }

    /// An engine that says how many tokens it knows may ignore the others without a word.
    private static func checkTokens(_ options: GenerationOptions, _ endpoint: EndpointRecord) throws {
        guard let highest = options.highestBiasedToken, let vocabulary = endpoint.report.vocabulary, highest >= vocabulary else { return }
        throw APIError.invalid("logit_bias", "The model has no token \(highest): its tokens are 0 to \(vocabulary - 1).")
    }

    private static func checkParts(_ chat: ChatRequest, _ endpoint: EndpointRecord) throws {
        guard !chat.parts.isEmpty else { return }
        let report = endpoint.report
        let kinds = [
            (chat.parts.image, report.readsImages, "images"), (chat.parts.audio, report.readsAudio, "audio"),
            (chat.parts.file, chat.adapter.readsFiles, "files"),
        ]
        for case (let place?, false?, let name) in kinds {
            throw APIError(.unsupportedContent, "The model does not read \(name).", param: "\(place).type")
        }
    }

    /// The most tokens an answer may have: what the context leaves, and the endpoint's cap (04 §10). nil = not known here.
    private static func tokenLimit(_ asked: some GenerationRequest, _ endpoint: EndpointRecord) throws -> Int? {
        let prompt = asked.longestPrompt
        if let most = endpoint.limits.maxPromptTokens, prompt.estimate > most {
            throw APIError(
                .contextLengthExceeded, "The prompt is longer than this endpoint's limit of \(most) tokens.", param: prompt.name)
        }
        // Estimates are rough, so only what no tokenizer could fit is refused here; the engine's own count decides about the rest.
        if let context = endpoint.mostContext, prompt.least > context {
            throw APIError(
                .contextLengthExceeded, "The prompt is longer than the model's context of \(context) tokens.", param: prompt.name)
        }
        var limit = endpoint.limits.maxTokens
        // Without a limit of the client the engine itself fills the context; its own count of the prompt is the right one. The same where our
        // rough estimate leaves nothing.
        if let context = endpoint.mostContext, asked.maxTokens != nil, prompt.estimate < context {
            limit = min(limit ?? .max, context - prompt.estimate)
        }
        return limit
    }

    private mutating func begin(_ name: String) {
        var name = name
        name.withUTF8 { begin(UnsafeRawBufferPointer($0)) }
    }

    private mutating func begin(_ name: UnsafeRawBufferPointer) {
        if !isFirst { json.raw("," as StaticString) }
        isFirst = false
        json.string(name)
        json.raw(":" as StaticString)
    }

    private mutating func messages(_ value: JSONElement, after systemPrompt: String) {
        begin("messages")
        json.raw(#"[{"role":"system","content":"#)
        json.string(systemPrompt)
        json.raw("}," as StaticString)
        json.raw(UnsafeRawBufferPointer(rebasing: value.text.dropFirst()))
    }
}
