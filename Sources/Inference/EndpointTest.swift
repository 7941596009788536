import Catalog
import JSON
import OpenAI
import Server

/// `POST endpoints/{id}/test` (07 §6): one small chat over the same way as every other, charged and limited like it, and an answer that says how it
/// was routed. An endpoint can be tested whatever its state: that is when one wants to.
extension ChatRoutes {
    private static let body = #"{"model":"test","messages":[{"role":"user","content":"Reply with the word OK."}],"max_tokens":16}"#

    func testEndpoint(_ request: Request, _ context: Context) throws -> Response {
        let createdAt = Settlement.nowMicroseconds()
        if !request.body.isEmpty {
            try RequestDocument.read(request.body, context.services.parser) { try Fields.refuseMembers(of: $0, "", except: []) }
        }
        let endpoint = try namedEndpoint(request, context)
        context.log.endpointSlug = endpoint.slug
        context.log.modelName = endpoint.modelName
        try RequestedEndpoint.check(endpoint, serves: .generate)
        let (chat, body) = try RequestDocument.read(Array(Self.body.utf8), context.services.parser) { root in
            let chat = try ChatRequest(checking: root, defaults: endpoint.defaults, adapter: EngineAdapter(endpoint.engine))
            return (chat, try UpstreamBody(of: root, chat, for: endpoint))
        }
        if let replayed = try context.replay(of: request) { return replayed }
        let routing = endpoint.isServedByAgents ? RoutedRequest() : nil
        return try start(
            PreparedChat(endpoint: endpoint, chat: chat, body: body, routing: routing), vendorEvents: true, createdAt: createdAt, context
        ).answer { Self.answer($0, endpoint) }
    }

    private static func answer(_ response: Response, _ endpoint: EndpointRecord) -> Response {
        guard case .bytes(let completion) = response.body else { return response }
        var response = response
        var json = JSONWriter(capacity: completion.count + 256)
        json.raw(#"{"object":"endpoint.test","id":"#)
        json.string(endpoint.id.description)
        json.raw(#","endpoint":"#)
        json.string(endpoint.slug)
        json.raw(#","generation":"#)
        json.integer(Int(endpoint.generation))
        json.raw(#","completion":"#)
        json.raw(completion)
        json.raw("}" as StaticString)
        response.body = .bytes(json.bytes)
        return response
    }

    private func namedEndpoint(_ request: Request, _ context: Context) throws -> EndpointRecord {
        let principal = try context.principal
        let name = request.pathParameters["id"] ?? ""
        let all = try acceptance.catalog.catalog(of: principal.projectID).endpoints
        guard let endpoint = all.first(where: { $0.slug == name || $0.id.description == name }) else { throw CatalogError.endpointNotFound }
        try RequestedEndpoint.checkPin(of: principal, endpoint)
        return endpoint
    }
}
