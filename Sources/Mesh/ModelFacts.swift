import JSON
import MessagePack

/// What a model server says of itself and a model in its list of models (`GET /v1/models`); nil = it does not say. Pure.
///
/// vLLM and llama.cpp name themselves as the owner of their models. `openai` as the owner says nothing: gateways of all kinds call their models so,
/// whatever is behind them.
public struct ModelFacts: Sendable, Equatable, Codable {
    /// `vllm` or `llama_cpp`.
    public var engine: String?
    /// In tokens, of one request.
    public var contextLength: Int?
    /// How many tokens it knows: their ids are 0 to one less.
    public var vocabulary: Int?
    public var readsImages: Bool?
    public var readsAudio: Bool?

    public init(
        engine: String? = nil, contextLength: Int? = nil, vocabulary: Int? = nil, readsImages: Bool? = nil, readsAudio: Bool? = nil
    ) {
        self.engine = engine
        self.contextLength = contextLength
        self.vocabulary = vocabulary
        self.readsImages = readsImages
        self.readsAudio = readsAudio
    }

    /// - Parameters:
    ///   - entry: the model's, of the list.
    ///   - server: the header `Server` of the answer.
    public init(of entry: JSONElement, server: String?) {
        switch entry["owned_by"]?.string {
        case "llamacpp": engine = Self.llamaCpp
        case "vllm": engine = Self.vLLM
        default: engine = server?.hasPrefix("llama.cpp") == true ? Self.llamaCpp : nil
        }
        switch engine {
        case Self.llamaCpp:
            let meta = entry["meta"]
            contextLength = Self.size(meta?["n_ctx"])
            vocabulary = Self.size(meta?["n_vocab"])
            if let kinds = entry["architecture"]?["input_modalities"], kinds.kind == .array {
                readsImages = kinds.elements.contains { $0.string == "image" }
                readsAudio = kinds.elements.contains { $0.string == "audio" }
            }
        case Self.vLLM: contextLength = Self.size(entry["max_model_len"])
        default: break
        }
    }

    private enum CodingKeys: String, CodingKey {
        case engine, vocabulary
        case contextLength = "context_length"
        case readsImages = "reads_images"
        case readsAudio = "reads_audio"
    }

    private static let llamaCpp = "llama_cpp"
    private static let vLLM = "vllm"
    private static let sizes = 1...1_000_000_000

    private static func size(_ value: JSONElement?) -> Int? { value?.integer.flatMap { sizes.contains($0) ? $0 : nil } }
}

extension ModelFacts {
    init(_ fields: FieldReader) throws(FrameError) {
        self.init()
        engine = try fields.optionalText("engine")
        contextLength = try fields.optionalInteger("context_length", Self.sizes)
        vocabulary = try fields.optionalInteger("vocabulary", Self.sizes)
        readsImages = try fields.optionalFlag("reads_images")
        readsAudio = try fields.optionalFlag("reads_audio")
    }

    func write(to map: inout MessagePackMap) {
        map.add("engine", engine)
        map.add("context_length", contextLength)
        map.add("vocabulary", vocabulary)
        map.add("reads_images", readsImages)
        map.add("reads_audio", readsAudio)
    }
}
