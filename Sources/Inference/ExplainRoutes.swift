import JSON
import Mesh
import OpenAI
import Server
import Tenancy

/// `POST management/router/explain` (05 §4): how the router would choose a worker for a chat. Nothing is dispatched, held or billed.
public struct ExplainRoutes: Sendable {
    private let chats: ChatRoutes
    private let database: TenantDatabase

    public init(_ chats: ChatRoutes, database: TenantDatabase) {
        self.chats = chats
        self.database = database
    }

    public var all: [Route] {
        [Route(.post, "management/router/explain", [.host, .project], .management, meter: .none, bodyLimit: 20 << 20, explain)]
    }

    private func explain(_ request: Request, _ context: Context) throws -> Response {
        var prepared = try chats.prepare(request, context)
        let headers = try RoutingHeaders(request)
        try headers.check(prepared.endpoint)
        prepared.routing?.take(headers)
        prepared.routing?.expect(prepared.chat, prepared.body)
        guard prepared.routing != nil else {
            throw APIError(
                .unsupportedValue, "'\(prepared.endpoint.slug)' has an upstream of its own: the router chooses nobody for it.",
                param: "model")
        }
        guard let mesh = chats.acceptance.upstream(prepared.endpoint) as? MeshUpstream else {
            throw APIError(.noWorkerAvailable, "No worker is available: this deployment takes no agents.", retryAfter: 30)
        }
        let asked = UpstreamRequest(
            path: ChatRequest.path, body: [], isStream: prepared.chat.isStream, requestID: context.requestID, deadline: .now,
            queueWait: .zero, clientDescriptor: nil, routing: prepared.routing)
        // No connection to the database is held meanwhile.
        let response = Self.response(try mesh.explain(asked), prepared)
        return try context.write(request, to: database) { _ in response }
    }

    private static func response(_ explained: Explained, _ prepared: PreparedChat) -> Response {
        var json = JSONWriter(capacity: 1_024 + 640 * explained.workers.count)
        json.raw(#"{"object":"router.explanation","endpoint":"#)
        json.string(prepared.endpoint.slug)
        json.raw(#","model":"#)
        json.string(prepared.endpoint.modelName)
        json.raw(#","tier":"#)
        json.string(prepared.endpoint.tier.slug)
        json.raw(#","service_tier":"#)
        json.string(prepared.chat.profile.name)
        json.raw(#","prompt_blocks":"#)
        json.integer(prepared.routing?.prefix?.hashes.count ?? 0)
        json.raw(#","selection_sharpness":"#)
        json.integer(explained.sharpness)
        json.raw(#","epsilon":"#)
        json.raw(explained.epsilon.text(decimals: 6))
        json.raw(#","weights":"#)
        write(explained.weights, explained, to: &json)
        json.raw(#","data":["#)
        for (place, worker) in explained.workers.enumerated() {
            if place > 0 { json.raw("," as StaticString) }
            write(worker, explained, to: &json)
        }
        json.raw("]}" as StaticString)
        return Response.json(json.bytes)
    }

    private static func write(_ worker: Explained.Worker, _ explained: Explained, to json: inout JSONWriter) {
        json.raw(#"{"worker_id":"#)
        json.string(worker.id)
        json.raw(#","region":"#)
        json.string(worker.region)
        json.raw(#","shared":"#)
        json.bool(worker.isShared)
        json.raw(#","eligible":"#)
        json.bool(worker.obstacle == nil)
        json.raw(#","reason":"#)
        json.string(worker.obstacle)
        json.raw(#","score":"#)
        json.raw(worker.score.text(decimals: 6))
        json.raw(#","probability":"#)
        json.raw(worker.probability.text(decimals: 6))
        json.raw(#","signals":"#)
        write(worker.values, explained, to: &json)
        json.raw("}" as StaticString)
    }

    private static func write(_ values: [Double], _ explained: Explained, to json: inout JSONWriter) {
        json.raw("{" as StaticString)
        for (place, (name, value)) in zip(explained.signals, values).enumerated() {
            if place > 0 { json.raw("," as StaticString) }
            json.string(name)
            json.raw(":" as StaticString)
            json.raw(value.text(decimals: 6))
        }
        json.raw("}" as StaticString)
    }
}
