import Catalog
import JSON
import OpenAI

/// Reads whose server it is, and what it says of its model, out of the answer to `GET /v1/models`. Pure.
///
/// vLLM and llama.cpp name themselves as the owner of their models. `openai` as the owner says nothing: gateways of all kinds call their models so,
/// whatever is behind them.
extension EngineReport {
    /// - Parameter model: the one that the endpoint serves.
    /// - Returns: nil for what is no list of models.
    package init?(modelsBody body: [UInt8], server: String?, model: String) {
        let report = try? JSONParser().parse(body) { EngineReport(models: $0, server: server, model: model) }
        guard let report = report ?? nil else { return nil }
        self = report
    }

    private init?(models root: JSONElement, server: String?, model: String) {
        guard let list = root["data"], list.kind == .array else { return nil }
        self.init()
        let named = list.elements.first { $0["id"]?.string == model || $0["aliases"]?.elements.contains { $0.string == model } == true }
        guard let entry = named ?? list.elements.first(where: { _ in true }) else { return }
        switch entry["owned_by"]?.string {
        case "llamacpp": engine = .llamaCpp
        case "vllm": engine = .vLLM
        default: engine = server?.hasPrefix("llama.cpp") == true ? .llamaCpp : nil
        }
        switch engine {
        case .llamaCpp:
            let meta = entry["meta"]
            contextLength = Self.size(meta?["n_ctx"])
            vocabulary = Self.size(meta?["n_vocab"])
            if let kinds = entry["architecture"]?["input_modalities"], kinds.kind == .array {
                readsImages = kinds.elements.contains { $0.string == "image" }
                readsAudio = kinds.elements.contains { $0.string == "audio" }
            }
        case .vLLM: contextLength = Self.size(entry["max_model_len"])
        default: break
        }
    }

    private static func size(_ value: JSONElement?) -> Int? { value?.integer.flatMap { (1...1_000_000_000).contains($0) ? $0 : nil } }
}
