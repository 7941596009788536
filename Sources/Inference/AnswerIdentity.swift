import JSON

/// The members that are ours in every answer and chunk of one request.
package struct AnswerIdentity {
    /// `chatcmpl-…`, `cmpl-…`
    var id: String
    /// Unix seconds.
    var created: Int
    /// The served model's name.
    var model: String
    /// The echoed routing profile.
    var serviceTier: String
    /// Used when the engine names none.
    var fingerprint: String

    package init(id: String, created: Int, model: String, serviceTier: String, fingerprint: String) {
        self.id = id
        self.created = created
        self.model = model
        self.serviceTier = serviceTier
        self.fingerprint = fingerprint
    }

    /// With the fingerprint that the engine names, if it does.
    func with(_ fingerprint: JSONElement?) -> AnswerIdentity {
        guard let name = fingerprint?.string else { return self }
        var identity = self
        identity.fingerprint = name
        return identity
    }

    /// `"id":…,"object":…,"created":…,"model":…,"service_tier":…,"system_fingerprint":…`
    /// - Parameter showsServiceTier: answers of older surfaces have none.
    func write(object: StaticString, showsServiceTier: Bool = true, to json: inout JSONWriter) {
        json.raw(#""id":"#)
        json.string(id)
        json.raw(#","object":""#)
        json.raw(object)
        json.raw(#"","created":"#)
        json.integer(created)
        json.raw(#","model":"#)
        json.string(model)
        if showsServiceTier {
            json.raw(#","service_tier":"#)
            json.string(serviceTier)
        }
        json.raw(#","system_fingerprint":"#)
        json.string(fingerprint)
    }
}

/// The reasons OpenAI's clients know.
enum FinishReason {
    static let all: Set<String> = ["stop", "length", "tool_calls", "content_filter", "function_call"]
    /// Of text completions.
    static let ofTexts: Set<String> = ["stop", "length", "content_filter"]
}

/// The answer of an engine does not follow OpenAI's shape.
package struct MalformedAnswer: Error {}

extension JSONWriter {
    /// Copies a value's text on one line. In valid JSON a raw line end is white space, so a space can stand for it.
    mutating func line(_ value: JSONElement) {
        let text = value.text
        if text.contains(where: { $0 == 0x0A || $0 == 0x0D }) {
            raw(text.map { $0 == 0x0A || $0 == 0x0D ? UInt8(ascii: " ") : $0 })
        } else {
            raw(text)
        }
    }

    /// `{"content":…,"refusal":…}` as OpenAI requires both; engines leave `refusal` out.
    /// - Parameter drops: leaves out alternatives that nobody asked for.
    mutating func logprobs(_ value: JSONElement?, droppingAlternatives drops: Bool = false) {
        guard let value, value.kind == .object else { return raw("null" as StaticString) }
        raw(#"{"content":"#)
        if let content = value["content"] { tokens(content, drops) } else { raw("null" as StaticString) }
        raw(#","refusal":"#)
        if let refusal = value["refusal"] { tokens(refusal, drops) } else { raw("null" as StaticString) }
        raw("}" as StaticString)
    }

    /// Only what OpenAI has: llama.cpp adds the tokens' ids.
    private mutating func tokens(_ list: JSONElement, _ drops: Bool) {
        guard list.kind == .array else { return raw("null" as StaticString) }
        raw("[" as StaticString)
        for (position, token) in list.elements.enumerated() {
            if position > 0 { raw("," as StaticString) }
            beginToken(token)
            raw(#","top_logprobs":["#)
            if !drops, let others = token["top_logprobs"] {
                for (position, other) in others.elements.enumerated() {
                    if position > 0 { raw("," as StaticString) }
                    beginToken(other)
                    raw("}" as StaticString)
                }
            }
            raw("]}" as StaticString)
        }
        raw("]" as StaticString)
    }

    private mutating func beginToken(_ token: JSONElement) {
        raw(#"{"token":"#)
        value(token["token"])
        raw(#","logprob":"#)
        value(token["logprob"])
        raw(#","bytes":"#)
        value(token["bytes"])
    }

    private mutating func value(_ element: JSONElement?) {
        if let element { line(element) } else { raw("null" as StaticString) }
    }
}

extension JSONElement {
    /// What the model thought, in a message or a delta: engines have two names for it, and some use both at once, or leave one null.
    var reasoning: JSONElement? {
        if let reasoning = self["reasoning_content"], reasoning.kind == .string { return reasoning }
        return self["reasoning"]
    }
}

extension ChatRequest {
    /// Whether the engine was asked for more alternatives than the client wants.
    var dropsAlternatives: Bool { alternatives == 0 && adapter.alternatives == .atLeastOne }
}
