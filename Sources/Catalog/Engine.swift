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

/// What a model server says of itself in its list of models; nil = it does not say.
public struct EngineReport: Sendable, Equatable, Codable {
    public var engine: Engine?
    /// In tokens, of one request.
    public var contextLength: Int?
    /// How many tokens it knows: their ids are 0 to one less.
    public var vocabulary: Int?
    public var readsImages: Bool?
    public var readsAudio: Bool?

    public init(
        engine: Engine? = nil, contextLength: Int? = nil, vocabulary: Int? = nil, readsImages: Bool? = nil, readsAudio: Bool? = nil
    ) {
        self.engine = engine
        self.contextLength = contextLength
        self.vocabulary = vocabulary
        self.readsImages = readsImages
        self.readsAudio = readsAudio
    }

    private enum CodingKeys: String, CodingKey {
        case engine, vocabulary
        case contextLength = "context_length"
        case readsImages = "reads_images"
        case readsAudio = "reads_audio"
    }
}

extension EndpointRecord {
    /// As the endpoint states it, or else as its server was recognized; nil = nobody knows yet.
    public var engine: Engine? { upstream.engine ?? report.engine }

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
