import Mesh

/// Whose server answers behind an endpoint. Each speaks OpenAI's API with habits of its own.
public enum Engine: String, Sendable, Codable, CaseIterable {
    case vLLM = "vllm"
    case llamaCpp = "llama_cpp"
    /// OpenAI's own servers, and what behaves like them.
    case openAI = "openai"
}

/// What `upstream.engine` says: an engine, or `auto`.
public enum EngineChoice: Sendable, Equatable {
    case auto
    case named(Engine)

    /// - Returns: nil for a name that is none.
    public init?(named name: String) {
        if name == "auto" { self = .auto } else if let engine = Engine(rawValue: name) { self = .named(engine) } else { return nil }
    }

    var engine: Engine? {
        if case .named(let engine) = self { engine } else { nil }
    }
}

extension ModelFacts {
    /// Whose server it is, as far as that is known here.
    public var knownEngine: Engine? { engine.flatMap(Engine.init) }
}

extension EndpointRecord {
    /// As the endpoint states it, or else as its server was recognized; nil = nobody knows yet.
    public var engine: Engine? { upstream.engine ?? report.knownEngine }

    /// The most tokens of prompt and answer together, as far as endpoint, model and engine say.
    public var mostContext: Int? {
        guard let own = contextLength, let reported = report.contextLength else { return contextLength ?? report.contextLength }
        return min(own, reported)
    }
}

extension EndpointRecord {
    /// The model's name as its server knows it.
    public var upstreamModel: String { upstream.model ?? modelName }
}
