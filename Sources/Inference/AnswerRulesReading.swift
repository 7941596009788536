import JSON
import JSONSchema
import OpenAI
import Server

extension AnswerRules {
    /// What a request demands of its answer, and what the engine behind the endpoint must be told for it.
    /// - Returns: nil where nothing is to be checked or said otherwise.
    static func read(
        _ tools: ChatTools, _ format: ResponseFormat, allowsParallelCalls: Bool, for engine: EngineTraits, _ schemas: SchemaCache
    ) throws -> AnswerRules? {
        let offer = Offer(tools)
        let content = Self.content(format)
        var replaced: [String: [UInt8]?] = [:]
        var guide: CallGuide?
        if offer.mustCall ? !engine.obeysToolChoice : offer.mayCall && format.isDemand && !engine.callsDespiteFormat {
            for name in ["tools", "tool_choice", "parallel_tool_calls", "response_format"] { replaced[name] = .some(nil) }
            try checkGuiding(offer.functions, tools, schemas)
            let made = CallGuide(
                offer.functions, isParallel: allowsParallelCalls,
                isNamed: offer.isNamed || offer.functions.count == 1 && !allowsParallelCalls,
                answer: offer.mustCall ? nil : format.guidedAnswer)
            replaced["response_format"] = made.responseFormat
            guide = made
        } else if case .allowed(_, let isRequired) = tools.choice, !engine.knowsAllowedTools {
            let isNothing = offer.functions.isEmpty
            replaced["tools"] = .some(isNothing ? nil : offer.toolsText)
            replaced["tool_choice"] = .some(isNothing ? nil : Array((isRequired ? #""required""# : #""auto""#).utf8))
        }
        let isDemand = offer.mustCall || offer.callable != nil || format.isChecked || !tools.strict.isEmpty
        guard isDemand || guide != nil || !replaced.isEmpty else { return nil }
        return AnswerRules(
            content: content, arguments: tools.strict, callable: offer.callable, mustCall: offer.mustCall, guide: guide, replaced: replaced)
    }

    /// An engine that is guided by a schema must be able to work with it.
    private static func checkGuiding(_ functions: [CallGuide.Function], _ tools: ChatTools, _ schemas: SchemaCache) throws {
        for function in functions where tools.strict[function.name] == nil {
            guard let parameters = function.parameters else { continue }
            let index = tools.functions.firstIndex { $0.name == function.name } ?? 0
            _ = try schemas.compile(parameters, "tools[\(index)].function.parameters", isStrict: false)
        }
    }

    private static func content(_ format: ResponseFormat) -> Content {
        switch format {
        case .text, .schema(_, nil): .anything
        case .object: .object
        case .schema(_, .some(let schema)): .schema(schema)
        }
    }

    /// The tools that the model may call by `tool_choice`.
    private struct Offer {
        var functions: [CallGuide.Function]
        var mustCall = false
        var mayCall = false
        /// One function was chosen.
        var isNamed = false
        var callable: Set<String>?

        init(_ tools: ChatTools) {
            functions = tools.functions
            switch tools.choice {
            case .none: break
            case .auto: mayCall = !functions.isEmpty
            case .required: (mustCall, callable) = (true, tools.names)
            case .function(let name):
                (mustCall, isNamed, callable) = (true, true, [name])
                functions = functions.filter { $0.name == name }
            case .allowed(let names, let isRequired):
                callable = Set(names)
                functions = functions.filter { names.contains($0.name) }
                mustCall = isRequired
                mayCall = !functions.isEmpty
            }
        }

        /// As the member `tools` has them.
        var toolsText: [UInt8] {
            var json = JSONWriter(capacity: 1024)
            json.raw("[" as StaticString)
            for (index, function) in functions.enumerated() {
                json.raw(index > 0 ? #",{"type":"function","function":"# as StaticString : #"{"type":"function","function":"#)
                json.raw(function.text.text)
                json.raw("}" as StaticString)
            }
            json.raw("]" as StaticString)
            return json.bytes
        }
    }
}

extension ResponseFormat {
    /// Whether the answer must be JSON.
    fileprivate var isDemand: Bool { if case .text = self { false } else { true } }

    /// Whether we check it.
    fileprivate var isChecked: Bool {
        switch self {
        case .text, .schema(_, nil): false
        case .object, .schema: true
        }
    }

    fileprivate var guidedAnswer: CallGuide.Answer {
        switch self {
        case .text, .object: .anyObject
        case .schema(let schema, _): .schema(schema)
        }
    }
}
