import OpenAI
import Server

/// `POST rerank` and `POST score` (02 §15).
public struct ScoreRoutes: Sendable {
    private let acceptance: Acceptance

    public init(_ acceptance: Acceptance) { self.acceptance = acceptance }

    public var all: [Route] {
        [
            Route(.post, "rerank", .all, .inference, meter: .usage(.rerank), bodyLimit: 20 << 20) { request, context in
                try acceptance.answer(request, context, mode: .score) { try RerankWork(checking: $0, for: $1) }
            },
            Route(.post, "score", .all, .inference, meter: .usage(.score), bodyLimit: 20 << 20) { request, context in
                try acceptance.answer(request, context, mode: .score) { try ScoreWork(checking: $0, for: $1) }
            },
        ]
    }
}
