import JSON
import JSONSchema
import OpenAI
import Server

/// Checks `tools`, `tool_choice` and `response_format` as written (02 §6). Valid as long as the request's document.
struct ChatTools {
    /// What `tool_choice` says.
    enum Choice {
        case none, auto, required
        case function(String)
        case allowed([String], isRequired: Bool)
    }

    private(set) var names: Set<String> = []
    private(set) var functions: [CallGuide.Function] = []
    /// The schemas of strict tools, by name.
    private(set) var strict: [String: JSONSchema] = [:]
    private(set) var choice = Choice.auto
    private let schemas: SchemaCache

    private static let countLimit = 128
    private static let schemaLimit = 64 << 10
    private static let allSchemasLimit = 512 << 10
    private static let schemaDepth = 16

    init(tools: JSONElement?, choice: JSONElement?, _ schemas: SchemaCache) throws {
        self.schemas = schemas
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
        functions.append(
            CallGuide.Function(name: name, text: function, parameters: function["parameters"].flatMap { $0.isNull ? nil : $0 }))
        guard let parameters = functions.last?.parameters else { return }
        let parametersPath = "\(path).parameters"
        schemaBytes += parameters.text.count
        try Self.check(schema: parameters, parametersPath)
        guard schemaBytes <= Self.allSchemasLimit else {
            throw APIError(
                .invalidFunctionSchema, "The schemas of all tools are larger than \(Self.allSchemasLimit) bytes.", param: "tools")
        }
        if isStrict {
            try Self.checkStrict(parameters, parametersPath)
            strict[name] = try schemas.compile(parameters, parametersPath, isStrict: true)
        }
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

    private mutating func check(choice: JSONElement) throws {
        if let mode = choice.string {
            guard ["none", "auto", "required"].contains(mode) else {
                throw APIError.invalid("tool_choice", "'tool_choice' must be 'none', 'auto', 'required' or an object.")
            }
            if mode == "required", names.isEmpty { throw APIError.invalid("tool_choice", "'tool_choice' needs 'tools'.") }
            self.choice = mode == "none" ? .none : mode == "required" ? .required : .auto
            return
        }
        try Fields.object(choice, "tool_choice")
        switch choice["type"]?.string {
        case "function": self.choice = .function(try check(named: choice["function"]?["name"], "tool_choice.function.name"))
        case "allowed_tools":
            guard let list = choice["allowed_tools"], let mode = list["mode"]?.string, ["auto", "required"].contains(mode),
                let tools = list["tools"], tools.kind == .array
            else { throw APIError.invalid("tool_choice.allowed_tools", "'tool_choice.allowed_tools' must have 'mode' and 'tools'.") }
            var allowed: [String] = []
            for (index, tool) in tools.elements.enumerated() {
                allowed.append(try check(named: tool["function"]?["name"], "tool_choice.allowed_tools.tools[\(index)].function.name"))
            }
            guard !allowed.isEmpty || mode == "auto" else {
                throw APIError.invalid("tool_choice.allowed_tools.tools", "'tool_choice.allowed_tools.tools' must not be empty.")
            }
            self.choice = .allowed(allowed, isRequired: mode == "required")
        default: throw APIError.invalid("tool_choice.type", "'tool_choice.type' must be 'function' or 'allowed_tools'.")
        }
    }

    private func check(named value: JSONElement?, _ path: String) throws -> String {
        guard let name = value?.string else { throw APIError.invalid(path, "'\(path)' must be a string.") }
        guard names.contains(name) else { throw APIError(.toolNotFound, "There is no tool named '\(name.prefix(64))'.", param: path) }
        return name
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

    /// - Returns: what the answer must be.
    static func read(responseFormat format: JSONElement, _ schemas: SchemaCache) throws -> ResponseFormat {
        try Fields.object(format, "response_format")
        guard let type = format["type"] else { throw APIError.missing("response_format.type") }
        let kind = try Fields.choice(type, "response_format.type", of: ["text", "json_object", "json_schema"])
        guard kind == "json_schema" else { return kind == "text" ? .text : .object }
        guard let schema = format["json_schema"] else { throw APIError.missing("response_format.json_schema") }
        try Fields.object(schema, "response_format.json_schema")
        guard let name = schema["name"]?.string, isFunctionName(name) else {
            throw APIError.invalid(
                "response_format.json_schema.name", "'response_format.json_schema.name' must match ^[a-zA-Z0-9_-]{1,64}$.")
        }
        var isStrict = false
        if let strict = schema["strict"], !strict.isNull { isStrict = try Fields.bool(strict, "response_format.json_schema.strict") }
        guard let body = schema["schema"], !body.isNull else { return .text }
        let path = "response_format.json_schema.schema"
        try check(schema: body, path, .invalidValue)
        guard isStrict else { return .schema(body, nil) }
        try checkStrict(body, path, .invalidValue)
        return .schema(body, try schemas.compile(body, path, .invalidValue, isStrict: true))
    }
}

extension SchemaCache {
    /// - Parameter code: for a schema that we cannot check answers by.
    func compile(
        _ schema: JSONElement, _ path: String, _ code: ErrorCode = .invalidFunctionSchema, isStrict: Bool
    ) throws -> JSONSchema {
        do {
            return try self.schema(schema, isStrict: isStrict) { try JSONSchema(JSONValue(schema), limits: isStrict ? .strict : .bounded) }
        } catch let error as SchemaError {
            throw APIError(code, "'\(path)' \(error.reason)", param: path)
        }
    }
}

/// What `response_format` asks for.
enum ResponseFormat {
    case text
    case object
    /// Compiled where it is strict.
    case schema(JSONElement, JSONSchema?)
}

extension JSONSchema.Limits {
    /// For schemas of requests: an engine that is guided by them has to work out each value and repetition (the numbers are OpenAI's).
    fileprivate static let bounded: JSONSchema.Limits = {
        var limits = JSONSchema.Limits()
        limits.schemas = 5_000
        limits.enumValues = 1_000
        limits.refusesSlowPatterns = true
        return limits
    }()

    /// For schemas that an answer must obey: each keyword must be one that is checked.
    fileprivate static let strict: JSONSchema.Limits = {
        var limits = bounded
        limits.refusesUnknownKeywords = true
        return limits
    }()
}

extension SchemaError {
    /// Goes on after the name of the schema.
    fileprivate var reason: String {
        switch self {
        case .invalid(let pointer, let reason): "is no schema that can be checked: at '#\(pointer.prefix(256))': \(reason)"
        case .unresolved(let pointer, let reference):
            "is no schema that can be checked: at '#\(pointer.prefix(256))': '\(reference.prefix(128))' leads nowhere."
        case .tooDeep(let limit): "nests deeper than \(limit) levels."
        case .tooLarge(let limit): "holds more than \(limit) schemas."
        case .tooManyValues(let limit): "has more than \(limit) values in all 'enum' together."
        case .tooComplex: "is too complex."
        }
    }
}
