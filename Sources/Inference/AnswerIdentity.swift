import JSON

/// The members that are ours in every answer and chunk of one request.
package struct AnswerIdentity {
    /// `chatcmpl-…`
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

    /// `"id":…,"object":…,"created":…,"model":…,"service_tier":…,"system_fingerprint":…`
    func write(object: StaticString, to json: inout JSONWriter) {
        json.raw(#""id":"#)
        json.string(id)
        json.raw(#","object":""#)
        json.raw(object)
        json.raw(#"","created":"#)
        json.integer(created)
        json.raw(#","model":"#)
        json.string(model)
        json.raw(#","service_tier":"#)
        json.string(serviceTier)
        json.raw(#","system_fingerprint":"#)
        json.string(fingerprint)
    }
}

/// The reasons OpenAI's clients know.
enum FinishReason {
    static let all: Set<String> = ["stop", "length", "tool_calls", "content_filter", "function_call"]
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

    private mutating func tokens(_ list: JSONElement, _ drops: Bool) {
        guard drops, list.kind == .array else { return line(list) }
        raw("[" as StaticString)
        for (position, token) in list.elements.enumerated() {
            raw(position == 0 ? "{" as StaticString : ",{" as StaticString)
            for member in token.members where !(member.name == "top_logprobs") {
                string(member.name.utf8)
                raw(":" as StaticString)
                line(member.value)
                raw("," as StaticString)
            }
            raw(#""top_logprobs":[]}"#)
        }
        raw("]" as StaticString)
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
