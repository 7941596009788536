import Catalog
import JSON
import OpenAI
import Server

/// A request for embeddings, and as much of its answer as there is.
struct EmbeddingWork: PartedWork {
    static let path = "embeddings"
    static let surface = Surface.embeddings

    private let asked: EmbeddingRequest
    private var answer: EmbeddingAnswer

    init(_ asked: EmbeddingRequest) {
        self.asked = asked
        answer = EmbeddingAnswer(count: asked.inputs.count, isBase64: asked.isBase64)
    }

    var profile: RoutingProfile { asked.profile }
    var tokenEstimate: Int { asked.tokenEstimate }
    var mostTokens: Int { asked.mostTokens }
    var parts: Int { asked.calls.count }
    var promptTokens: Int? { answer.promptTokens }

    func body(of part: Int, for endpoint: EndpointRecord) -> [UInt8] { asked.body(of: asked.calls[part], for: endpoint) }

    mutating func shorten(_ part: Int) -> Bool { false }
    func longest(_ part: Int) -> String { "input" }

    mutating func add(_ root: JSONElement, of part: Int) throws {
        try answer.add(root, of: asked.calls[part])
        guard let dimensions = asked.dimensions, dimensions != answer.size else { return }
        throw APIError(
            .unsupportedParameter, "The model's embeddings have \(answer.size) dimensions and cannot be cut to \(dimensions).",
            param: "dimensions")
    }

    func body(_ identity: PartedIdentity) -> [UInt8] { answer.body(model: identity.model, promptTokens: identity.promptTokens) }
}
