import JSON

/// The logprobs of one choice in the form of text completions: lists side by side. Engines give that form, or the one of chats.
struct CompletionLogprobs {
    /// How many likely tokens were asked for; nil = no logprobs.
    private let alternatives: Int?
    /// Unicode scalars of the tokens so far: where the next one begins in the text.
    private var offset = 0

    init(_ alternatives: Int?) { self.alternatives = alternatives }

    mutating func write(_ value: JSONElement?, to json: inout JSONWriter) {
        guard let alternatives, let value, value.kind == .object else { return json.raw("null" as StaticString) }
        if let content = value["content"], content.kind == .array { return write(content, alternatives, &json) }
        json.raw("{" as StaticString)
        var isFirst = true
        for member in value.members where Self.names.contains(where: { member.name == $0 }) && member.value.kind == .array {
            if !isFirst { json.raw("," as StaticString) }
            isFirst = false
            json.string(member.name.utf8)
            json.raw(":" as StaticString)
            json.line(member.value)
        }
        json.raw("}" as StaticString)
    }

    private static let names: [StaticString] = ["text_offset", "token_logprobs", "tokens", "top_logprobs"]

    /// The form of chats.
    private mutating func write(_ content: JSONElement, _ alternatives: Int, _ json: inout JSONWriter) {
        json.raw(#"{"text_offset":["#)
        for (place, token) in content.elements.enumerated() {
            if place > 0 { json.raw("," as StaticString) }
            json.integer(offset)
            offset += token["token"]?.string?.unicodeScalars.count ?? 0
        }
        Self.list(#"],"token_logprobs":["#, content, &json) { $1.number($0["logprob"]?.number ?? .nan) }
        Self.list(#"],"tokens":["#, content, &json) { $1.string($0["token"]?.string ?? "") }
        Self.list(#"],"top_logprobs":["#, content, &json) { Self.likely($0, alternatives, &$1) }
        json.raw("]}" as StaticString)
    }

    private static func list(
        _ opening: StaticString, _ content: JSONElement, _ json: inout JSONWriter, _ write: (JSONElement, inout JSONWriter) -> Void
    ) {
        json.raw(opening)
        for (place, token) in content.elements.enumerated() {
            if place > 0 { json.raw("," as StaticString) }
            write(token, &json)
        }
    }

    /// The likely tokens at a place. The one that was chosen is among them, likely or not.
    private static func likely(_ token: JSONElement, _ alternatives: Int, _ json: inout JSONWriter) {
        var names: Set<String> = []
        json.raw("{" as StaticString)
        for each in Array((token["top_logprobs"]?.elements ?? JSONElement.Elements.none).prefix(alternatives)) + [token] {
            guard let name = each["token"]?.string, let logprob = each["logprob"]?.number, names.insert(name).inserted else { continue }
            if names.count > 1 { json.raw("," as StaticString) }
            json.string(name)
            json.raw(":" as StaticString)
            json.number(logprob)
        }
        json.raw("}" as StaticString)
    }
}
