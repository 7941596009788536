import Foundation

/// What a model server says about a request it refused, made fit for clients.
package struct UpstreamErrorBody {
    package var message: String?
    package var param: String?
    /// Whether the model does not read this kind of content: llama.cpp says so with a 500.
    package var saysContentUnsupported: Bool {
        words.contains { $0.contains("input is not supported") || $0.contains("unsupported content[]") }
    }
    private var words: [String] = []

    /// Reads OpenAI's form, vLLM's older form without `error`, and FastAPI's `detail`. Anything else says nothing.
    package init(_ body: UnsafeRawBufferPointer) {
        let data = Data(body)
        // Not JSON: nothing to say, which the caller renders in general words.
        guard let root = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else { return }
        let error = root["error"] as? [String: Any] ?? root
        message = error["message"] as? String ?? root["error"] as? String ?? root["detail"] as? String
        if let named = error["param"] as? String, named.wholeMatch(of: /[A-Za-z0-9_.\[\]]{1,64}/) != nil { param = named }
        // llama.cpp names a member in its message alone.
        if param == nil, let field = message?.prefixMatch(of: /Field '([A-Za-z0-9_.]{1,64})'/) { param = String(field.1) }
        words = [message, error["code"] as? String, error["type"] as? String].compactMap { $0?.lowercased() }
    }

    /// Whether the prompt and the answer do not fit the model's context.
    package var saysContextExceeded: Bool {
        saysBatchExceeded || words.contains { word in Self.contextPhrases.contains { word.contains($0) } }
    }

    /// Whether a text does not fit the batch in which llama.cpp reads the inputs of embeddings and rerank as a whole: it says so with a 500, and advice
    /// for its operator.
    private var saysBatchExceeded: Bool { words.contains { $0.contains("is too large to process") } }

    private static let contextPhrases = [
        "context_length_exceeded", "exceed_context_size", "maximum context length", "exceeds the available context size",
        "maximum model length", "max_model_len", "context window",
    ]

    /// - Parameter input: the member of the client's request that the model read.
    package func apiError(hosts: [String], input: String) -> APIError {
        let text = saysBatchExceeded ? nil : message.flatMap { Self.cleaned($0, hosts: hosts) }
        if saysContextExceeded {
            return APIError(.contextLengthExceeded, text ?? "The request is longer than the model's context.", param: param ?? input)
        }
        if saysContentUnsupported {
            return APIError(.unsupportedContent, text ?? "The model does not read this content.", param: param ?? input)
        }
        return APIError(.invalidRequest, text ?? "The model server refused the request.", param: param)
    }

    /// The first line without words that may name a host, an address, a path or a key; nil when nothing is left.
    static func cleaned(_ message: String, hosts: [String]) -> String? {
        guard let line = message.split(whereSeparator: \.isNewline).first else { return nil }
        let words = line.prefix(500).split(separator: " ").map { word in
            isTelling(word.lowercased(), hosts: hosts) ? "[…]" : String(word.filter { !$0.isControl })
        }
        let text = words.joined(separator: " ")
        return text.contains(where: \.isLetter) ? text : nil
    }

    private static func isTelling(_ word: String, hosts: [String]) -> Bool {
        if hosts.contains(where: { word.contains($0.lowercased()) }) || word.contains("localhost") { return true }
        if word.contains("://") || word.contains("\\") || word.contains("@") { return true }
        if word.contains(/(^|[^a-z0-9])\/[a-z0-9._~]/) || word.filter({ $0 == "/" }).count > 1 { return true }
        if word.contains(/\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}/) || word.contains(/[0-9a-f]*:[0-9a-f]*:[0-9a-f:]+/) { return true }
        if word.contains(/[a-z0-9-]+\.(com|net|org|io|ai|dev|cloud|internal|local|lan|svc|corp|home)\b/) { return true }
        if word.contains(/[a-z][a-z0-9.-]*:\d{2,5}\b/) { return true }
        return word.contains(/\b(sk|pk|key|xero|hf|ghp)[-_][a-z0-9_-]{6,}/) || word.contains(/[a-z0-9_+=-]{32,}/)
    }
}

extension Character {
    fileprivate var isControl: Bool { unicodeScalars.contains { $0.properties.generalCategory == .control } }
}
