import JSON
import OpenAI
import Server

/// Checks `tools`, `tool_choice` and `response_format` as written (02 §6); the model server acts on them.
struct ChatTools {
    private(set) var names: Set<String> = []

    private static let countLimit = 128
    private static let schemaLimit = 64 << 10
    private static let allSchemasLimit = 512 << 10
    private static let schemaDepth = 16

    init(tools: JSONElement?, choice: JSONElement?) throws {
        if let tools, !tools.isNull { try check(tools) }
        if let choice, !choice.isNull { try check(choice: choice) }
    }

    private mutating func check(_ tools: JSONElement) throws {
        try Fields.array(tools, "tools")
        var schemaBytes = 0
        for (index, tool) in tools.elements.enumerated() {
            guard index < Self.countLimit else {
                throw APIError(.tooManyTools, "A request has at most \(Self.countLimit) tools.", param: "tools")
            }
            let path = "tools[\(index)]"
            guard tool["type"]?.string == "function" else { throw APIError.invalid("\(path).type", "'\(path).type' must be 'function'.") }
            guard let function = tool["function"], function.kind == .object else {
                throw APIError.invalid("\(path).function", "'\(path).function' must be an object.")
            }
            try check(function: function, "\(path).function", &schemaBytes)
        }
    }

    private mutating func check(function: JSONElement, _ path: String, _ schemaBytes: inout Int) throws {
        let name = function["name"]?.string
        guard let name, Self.isFunctionName(name) else {
            throw APIError(.invalidToolName, "'\(path).name' must match ^[a-zA-Z0-9_-]{1,64}$.", param: "\(path).name")
        }
        guard names.insert(name).inserted else {
            throw APIError(.invalidToolName, "The tool name '\(name)' stands twice.", param: "\(path).name")
        }
        if let description = function["description"], !description.isNull { _ = try Fields.string(description, "\(path).description") }
        var isStrict = false
        if let strict = function["strict"], !strict.isNull { isStrict = try Fields.bool(strict, "\(path).strict") }
        guard let parameters = function["parameters"], !parameters.isNull else { return }
        let parametersPath = "\(path).parameters"
        schemaBytes += parameters.text.count
        try Self.check(schema: parameters, parametersPath)
        guard schemaBytes <= Self.allSchemasLimit else {
            throw APIError(
                .invalidFunctionSchema, "The schemas of all tools are larger than \(Self.allSchemasLimit) bytes.", param: "tools")
        }
        if isStrict { try Self.checkStrict(parameters, parametersPath) }
    }

    /// - Parameter code: for a schema that cannot be accepted.
    static func check(schema: JSONElement, _ path: String, _ code: ErrorCode = .invalidFunctionSchema) throws {
        func invalid(_ message: String) -> APIError { APIError(code, message, param: path) }
        guard schema.kind == .object else { throw invalid("'\(path)' must be a JSON Schema object.") }
        guard schema.text.count <= schemaLimit else { throw invalid("'\(path)' is larger than \(schemaLimit) bytes.") }
        guard Fields.depth(of: schema) <= schemaDepth else { throw invalid("'\(path)' nests deeper than \(schemaDepth) levels.") }
    }

    /// Strict schemas close every object and require every property, at each level.
    static func checkStrict(_ schema: JSONElement, _ path: String, _ code: ErrorCode = .invalidFunctionSchema) throws {
        guard schema.kind == .object else { return }
        let properties = schema["properties"]
        if properties != nil || schema["type"]?.string == "object" {
            guard schema["additionalProperties"]?.bool == false else {
                throw APIError(code, "A strict schema needs 'additionalProperties': false.", param: path)
            }
        }
        let required = Set(schema["required"]?.elements.compactMap(\.string) ?? [])
        for property in properties?.members ?? JSONElement.Members.none {
            guard required.contains(property.name.description) else {
                throw APIError(code, "A strict schema needs every property in 'required'.", param: path)
            }
            try checkStrict(property.value, "\(path).properties.\(property.name)", code)
        }
        if let items = schema["items"] { try checkStrict(items, "\(path).items", code) }
        for (index, alternative) in (schema["anyOf"]?.elements ?? JSONElement.Elements.none).enumerated() {
            try checkStrict(alternative, "\(path).anyOf[\(index)]", code)
        }
        for definition in schema["$defs"]?.members ?? JSONElement.Members.none {
            try checkStrict(definition.value, "\(path).$defs.\(definition.name)", code)
        }
    }

    private func check(choice: JSONElement) throws {
        if let mode = choice.string {
            guard ["none", "auto", "required"].contains(mode) else {
                throw APIError.invalid("tool_choice", "'tool_choice' must be 'none', 'auto', 'required' or an object.")
            }
            if mode == "required", names.isEmpty { throw APIError.invalid("tool_choice", "'tool_choice' needs 'tools'.") }
            return
        }
        try Fields.object(choice, "tool_choice")
        switch choice["type"]?.string {
        case "function": try check(named: choice["function"]?["name"], "tool_choice.function.name")
        case "allowed_tools":
            guard let allowed = choice["allowed_tools"], let mode = allowed["mode"]?.string, ["auto", "required"].contains(mode),
                let tools = allowed["tools"], tools.kind == .array
            else { throw APIError.invalid("tool_choice.allowed_tools", "'tool_choice.allowed_tools' must have 'mode' and 'tools'.") }
            for (index, tool) in tools.elements.enumerated() {
                try check(named: tool["function"]?["name"], "tool_choice.allowed_tools.tools[\(index)].function.name")
            }
        default: throw APIError.invalid("tool_choice.type", "'tool_choice.type' must be 'function' or 'allowed_tools'.")
        }
    }

    private func check(named value: JSONElement?, _ path: String) throws {
        guard let name = value?.string else { throw APIError.invalid(path, "'\(path)' must be a string.") }
        guard names.contains(name) else { throw APIError(.toolNotFound, "There is no tool named '\(name.prefix(64))'.", param: path) }
    }

    static func isFunctionName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                case UInt8(ascii: "_"), UInt8(ascii: "-"): true
                default: false
                }
            }
    }

    static func check(responseFormat format: JSONElement) throws {
        try Fields.object(format, "response_format")
        guard let type = format["type"] else { throw APIError.missing("response_format.type") }
        let kind = try Fields.choice(type, "response_format.type", of: ["text", "json_object", "json_schema"])
        guard kind == "json_schema" else { return }
        guard let schema = format["json_schema"] else { throw APIError.missing("response_format.json_schema") }
        try Fields.object(schema, "response_format.json_schema")
        guard let name = schema["name"]?.string, isFunctionName(name) else {
            throw APIError.invalid(
                "response_format.json_schema.name", "'response_format.json_schema.name' must match ^[a-zA-Z0-9_-]{1,64}$.")
        }
        var isStrict = false
        if let strict = schema["strict"], !strict.isNull { isStrict = try Fields.bool(strict, "response_format.json_schema.strict") }
        guard let body = schema["schema"], !body.isNull else { return }
        try check(schema: body, "response_format.json_schema.schema", .invalidValue)
        if isStrict { try checkStrict(body, "response_format.json_schema.schema", .invalidValue) }
    }
}
