import OpenAI
import Server

/// `POST embeddings` (02 §14).
public struct EmbeddingRoutes: Sendable {
    private let acceptance: Acceptance

    public init(_ acceptance: Acceptance) { self.acceptance = acceptance }

    public var all: [Route] {
        [
            Route(.post, "embeddings", .all, .inference, meter: .usage(.embeddings), bodyLimit: 20 << 20) { request, context in
                try acceptance.answer(request, context, mode: .embed) { EmbeddingWork(try EmbeddingRequest(checking: $0, for: $1)) }
            }
        ]
    }
}
