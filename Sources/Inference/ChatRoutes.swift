import HTTPClient
import OpenAI
import Server

/// `POST chat/completions` (02 §2-3).
public struct ChatRoutes: Sendable {
    let acceptance: Acceptance
    let schemas = SchemaCache()
    private let images: GuardedHTTPClient
    let cacheSalts: CacheSalts
    let promptNames: PromptNames

    /// - Parameter images: fetches images of requests that stand as URLs.
    public init(_ acceptance: Acceptance, images: GuardedHTTPClient, cacheSalts: CacheSalts, promptNames: PromptNames) {
        self.acceptance = acceptance
        self.images = images
        self.cacheSalts = cacheSalts
        self.promptNames = promptNames
    }

    public var all: [Route] {
        [
            Route(.post, "chat/completions", .all, .inference, meter: .usage(.chat), bodyLimit: 20 << 20, create),
            // A chat like any other, made here.
            Route(
                .post, "endpoints/:id/test", [.host, .project], .management, meter: .usage(.chat), isBodyOptional: true, testEndpoint),
        ]
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let createdAt = Settlement.nowMicroseconds()
        var prepared = try prepare(request, context)
        let headers = try RoutingHeaders(request)
        try headers.check(prepared.endpoint)
        prepared.routing?.take(headers)
        if let replayed = try context.replay(of: request) { return replayed }
        let vendorEvents = prepared.chat.options.wantsVendorEvents || request.header("HTTP_X_XEROTIER_EVENTS") == "on"
        return try start(prepared, vendorEvents: vendorEvents, createdAt: createdAt, context).response()
    }

    func start(
        _ prepared: PreparedChat, vendorEvents: Bool, createdAt: Int64, _ context: Context
    ) throws -> GenerationRun<ChatRequest> {
        try acceptance.start(
            prepared.chat, prepared.body, at: prepared.endpoint, routing: prepared.routing, vendorEvents: vendorEvents,
            createdAt: createdAt, context
        ) { upstream in
            guard !prepared.images.isEmpty else { return upstream }
            return FetchedImages(prepared.images, with: images, for: prepared.endpoint.projectID.description, to: upstream)
        }
    }
}
