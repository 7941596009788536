import JSON

/// How an engine that does not obey `tool_choice` is made to call: the tools are put into its instructions, and a schema leaves it no other answer
/// than calls. `GuidedAnswer` reads what it says.
struct CallGuide: Sendable {
    enum Shape: Sendable, Equatable {
        /// The arguments of this function alone.
        case arguments(of: String)
        /// `{"name":…,"arguments":…}`, in a list where there may be several; or `{"answer":…}` where the model need not call.
        case calls(isList: Bool)
    }

    let shape: Shape
    /// The `response_format` that is sent instead of the client's.
    let responseFormat: [UInt8]
    /// What the model is told before the conversation.
    let instructions: String

    /// A tool that may be called, as the client wrote it.
    struct Function {
        var name: String
        /// The member `function` of the tool.
        var text: JSONElement
        var parameters: JSONElement?
    }

    private static let mostCalls = 16
    private static let anyArguments: StaticString = #"{"type":"object"}"#

    /// - Parameters:
    ///   - functions: one at least.
    ///   - answer: what an answer that calls nothing must be, as a schema; nil where there must be a call.
    init(_ functions: [Function], isParallel: Bool, isNamed: Bool, answer: Answer?) {
        var schema = JSONWriter(capacity: 1024)
        if isNamed, let function = functions.first, answer == nil {
            shape = .arguments(of: function.name)
            if let parameters = function.parameters {
                schema.raw(parameters.text)
            } else {
                schema.raw(Self.anyArguments)
            }
        } else {
            shape = .calls(isList: isParallel)
            Self.write(functions, isParallel: isParallel, answer, to: &schema)
        }
        responseFormat = Array(#"{"type":"json_schema","json_schema":{"name":"calls","schema":"#.utf8) + schema.bytes + Array("}}".utf8)
        instructions = Self.instructions(functions, shape, hasAnswer: answer != nil)
    }

    /// What a turn that calls nothing must say.
    enum Answer {
        case anyObject
        case schema(JSONElement)
    }

    /// Writes the conversation with the instructions before it, or at the end of its first system message: some models take only one.
    /// - Parameter prompt: the endpoint's own system prompt.
    func write(_ messages: JSONElement, after prompt: String?, to json: inout JSONWriter) {
        var rest = messages.elements
        let first = rest.next()
        json.raw(#"[{"role":"system","content":"#)
        if let first, let role = first["role"]?.string, role == "system" || role == "developer", let said = first["content"]?.string {
            json.string("\(said)\n\n\(instructions)")
            json.raw("}" as StaticString)
        } else {
            json.string([prompt, instructions].compactMap(\.self).joined(separator: "\n\n"))
            json.raw("}" as StaticString)
            if let first {
                json.raw("," as StaticString)
                json.raw(first.text)
            }
        }
        while let message = rest.next() {
            json.raw("," as StaticString)
            json.raw(message.text)
        }
        json.raw("]" as StaticString)
    }

    private static func write(_ functions: [Function], isParallel: Bool, _ answer: Answer?, to json: inout JSONWriter) {
        json.raw(#"{"$defs":{"# as StaticString)
        for (index, function) in functions.enumerated() {
            json.raw(#""f\#(index)":"#)
            if let parameters = function.parameters {
                json.schema(parameters, below: "#/$defs/f\(index)")
            } else {
                json.raw(anyArguments)
            }
            json.raw("," as StaticString)
        }
        if let answer {
            json.raw(#""answer":"#)
            switch answer {
            case .anyObject: json.raw(anyArguments)
            case .schema(let schema): json.schema(schema, below: "#/$defs/answer")
            }
            json.raw("," as StaticString)
        }
        json.raw(#""call":{"anyOf":["#)
        for (index, function) in functions.enumerated() {
            if index > 0 { json.raw("," as StaticString) }
            json.raw(#"{"type":"object","properties":{"name":{"const":"#)
            json.string(function.name)
            json.raw(##"},"arguments":{"$ref":"#/$defs/f\##(index)"}},"required":["name","arguments"],"additionalProperties":false}"##)
        }
        json.raw("]}}," as StaticString)
        let calls =
            isParallel
            ? ##""type":"array","minItems":1,"maxItems":\##(mostCalls),"items":{"$ref":"#/$defs/call"}"## : ##""$ref":"#/$defs/call""##
        if answer == nil {
            json.raw(calls)
        } else {
            json.raw(
                #""anyOf":[{\#(calls)},{"type":"object","properties":{"answer":{"$ref":"# + ##""#/$defs/answer"}},"##
                    + #""required":["answer"],"additionalProperties":false}]"#)
        }
        json.raw("}" as StaticString)
    }

    private static func instructions(_ functions: [Function], _ shape: Shape, hasAnswer: Bool) -> String {
        var text = "You can call functions. Each is described by a line of JSON:\n"
        for function in functions {
            var line = JSONWriter(capacity: 256)
            line.line(function.text)
            text += String(decoding: line.bytes, as: UTF8.self) + "\n"
        }
        switch shape {
        case .arguments(let name): text += "Call \(name): say nothing but its arguments, as a JSON object."
        case .calls(let isList):
            text += #"Call what the conversation needs: say nothing but {"name": the function, "arguments": its arguments} as JSON"#
            text += isList ? ", each call an element of a list." : "."
            if hasAnswer { text += #" If no call is needed, say {"answer": your answer} as JSON instead."# }
        }
        return text
    }
}

extension JSONWriter {
    /// Copies a schema to another place: its references to itself begin there.
    fileprivate mutating func schema(_ value: JSONElement, below place: String) {
        switch value.kind {
        case .object:
            raw("{" as StaticString)
            var isFirst = true
            for member in value.members {
                if !isFirst { raw("," as StaticString) }
                isFirst = false
                string(member.name.utf8)
                raw(":" as StaticString)
                if member.name == "$ref", let reference = member.value.string, reference == "#" || reference.hasPrefix("#/") {
                    string(place + reference.dropFirst())
                } else {
                    schema(member.value, below: place)
                }
            }
            raw("}" as StaticString)
        case .array:
            raw("[" as StaticString)
            var isFirst = true
            for element in value.elements {
                if !isFirst { raw("," as StaticString) }
                isFirst = false
                schema(element, below: place)
            }
            raw("]" as StaticString)
        default: raw(value.text)
        }
    }
}
