import OpenAI
import Server

/// `POST rerank` and `POST score` (02 §15).
public struct ScoreRoutes: Sendable {
    private let inference: Acceptance

    public init(_ inference: Acceptance) { self.inference = inference }

    public var all: [Route] {
        [
            Route(.post, "rerank", .all, .inference, meter: .usage(.rerank), bodyLimit: 20 << 20) { request, context in
                try inference.answer(request, context, mode: .score) { try RerankWork(checking: $0, for: $1) }
            },
            Route(.post, "score", .all, .inference, meter: .usage(.score), bodyLimit: 20 << 20) { request, context in
                try inference.answer(request, context, mode: .score) { try ScoreWork(checking: $0, for: $1) }
            },
        ]
    }
}
