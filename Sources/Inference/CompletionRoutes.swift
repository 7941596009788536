import OpenAI
import Server

/// `POST completions` (02 §17).
public struct CompletionRoutes: Sendable {
    private let acceptance: Acceptance
    private let cacheSalts: CacheSalts
    private let promptNames: PromptNames

    public init(_ acceptance: Acceptance, cacheSalts: CacheSalts, promptNames: PromptNames) {
        self.promptNames = promptNames
        self.acceptance = acceptance
        self.cacheSalts = cacheSalts
    }

    public var all: [Route] {
        [Route(.post, "completions", .all, .inference, meter: .usage(.completions), bodyLimit: 20 << 20, create)]
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let createdAt = Settlement.nowMicroseconds()
        let (endpoint, asked, body, prefix) = try RequestDocument.read(request.body, context.services.parser) { root in
            let endpoint = try acceptance.endpoint(root, request, context, serving: .generate)
            let adapter = EngineAdapter(endpoint.engine)
            let asked = try CompletionRequest(checking: root, for: endpoint, adapter: adapter)
            let salt = cacheSalts.salt(for: request, at: endpoint, adapter)
            let body = try UpstreamBody(of: root, asked, for: endpoint, cacheSalt: salt)
            let isNamed = endpoint.isServedByAgents && cacheSalts.isCached(request, at: endpoint)
            return (endpoint, asked, body, isNamed ? try promptNames.chain(ofCompletion: root, at: endpoint) : nil)
        }
        let headers = try RoutingHeaders(request)
        try headers.check(endpoint)
        var routing = endpoint.isServedByAgents ? RoutedRequest(headers) : nil
        routing?.prefix = prefix
        routing?.cacheSalt = cacheSalts.salt(for: request, at: endpoint)
        if let replayed = try context.replay(of: request) { return replayed }
        return try acceptance.start(
            asked, body, at: endpoint, routing: routing, vendorEvents: false, createdAt: createdAt, context
        ).response()
    }
}
