import JSON
import OpenAI
import Server

/// `GET models` and `GET models/{id}` (02 §16): the endpoints a key can call, and the models behind them.
public struct ModelRoutes: Sendable {
    private let catalog: any CatalogSource

    public init(catalog: any CatalogSource) { self.catalog = catalog }

    public var all: [Route] {
        [
            Route(.get, "models", .all, .inference, meter: .none, list),
            Route(.get, "models/*id", .all, .inference, meter: .none, retrieve),
        ]
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let principal = try context.principal
        let entries = try self.entries(request, principal)
        var json = JSONWriter(capacity: 4096)
        json.raw(#"{"object":"list","data":["#)
        guard try Self.isExtended(request) else {
            Self.write(entries, extended: false, principal, to: &json)
            json.raw("]}" as StaticString)
            return .json(json.bytes)
        }
        let limit = try Self.integer(request, "limit", 1...100, default: 100)
        let offset = try Self.integer(request, "offset", 0...100_000, default: 0)
        let page = Array(entries.dropFirst(offset).prefix(limit))
        Self.write(page, extended: true, principal, to: &json)
        json.raw(#"],"total":"#)
        json.integer(entries.count)
        json.raw(#","limit":"#)
        json.integer(limit)
        json.raw(#","offset":"#)
        json.integer(offset)
        json.raw(#","has_more":"#)
        json.bool(offset + page.count < entries.count)
        json.raw("}" as StaticString)
        return .json(json.bytes)
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let principal = try context.principal
        let id = request.pathParameters["id"] ?? ""
        let entries = try self.entries(request, principal)
        guard let entry = entries.first(where: { $0.id == id }) ?? entries.first(where: { $0.names(id) }) else {
            throw CatalogError.modelNotFound(id)
        }
        var json = JSONWriter()
        Self.write([entry], extended: try Self.isExtended(request), principal, to: &json)
        return .json(json.bytes)
    }

    /// A line of the list: an endpoint by its slug, or a model by its name.
    private struct Entry {
        var id: String
        var endpoint: EndpointRecord
        var isEndpoint: Bool

        func names(_ text: String) -> Bool { text == endpoint.modelName || text == endpoint.modelID.description }
    }

    /// Sorted by id, each id once. The endpoint family shows the model that the endpoint serves, a pinned key its endpoint.
    private func entries(_ request: Request, _ principal: Principal) throws -> [Entry] {
        let catalog = try self.catalog.catalog(of: principal.projectID)
        if let slug = request.location.endpoint {
            let endpoint = try EndpointResolver.resolve(slug: slug, in: catalog)
            return [Entry(id: endpoint.modelName, endpoint: endpoint, isEndpoint: false)]
        }
        let active = catalog.endpoints.filter { $0.status == .active || $0.status == .degraded }
        if let pin = principal.endpointPin {
            return active.filter { $0.slug == pin }.map { Entry(id: $0.slug, endpoint: $0, isEndpoint: true) }
        }
        var byID: [String: Entry] = [:]
        for endpoint in active { byID[endpoint.slug] = Entry(id: endpoint.slug, endpoint: endpoint, isEndpoint: true) }
        for endpoint in active where byID[endpoint.modelName] == nil {
            byID[endpoint.modelName] = Entry(id: endpoint.modelName, endpoint: endpoint, isEndpoint: false)
        }
        return byID.values.sorted { $0.id < $1.id }
    }

    private static func isExtended(_ request: Request) throws -> Bool {
        switch request.query["extended"] {
        case nil, "false": false
        case "true": true
        default: throw APIError.invalid("extended", "'extended' must be 'true' or 'false'.")
        }
    }

    private static func integer(_ request: Request, _ name: String, _ range: ClosedRange<Int>, default value: Int) throws -> Int {
        guard let text = request.query[name] else { return value }
        guard let value = Int(text), range.contains(value) else {
            throw APIError.invalid(name, "'\(name)' must be between \(range.lowerBound) and \(range.upperBound).")
        }
        return value
    }

    private static func write(_ entries: [Entry], extended: Bool, _ principal: Principal, to json: inout JSONWriter) {
        for (index, entry) in entries.enumerated() {
            if index > 0 { json.raw("," as StaticString) }
            json.raw(#"{"id":"#)
            json.string(entry.id)
            json.raw(#","object":"model","created":"#)
            json.integer(entry.endpoint.createdAt)
            json.raw(#","owned_by":"#)
            json.string(principal.projectSlug)
            if extended { write(details: entry, to: &json) }
            json.raw("}" as StaticString)
        }
    }

    /// The object of 07 §1.1. A model behind an HTTP upstream has no files here, so what describes files is empty.
    private static func write(details entry: Entry, to json: inout JSONWriter) {
        let endpoint = entry.endpoint
        json.raw(#","name":"#)
        json.string(endpoint.modelName)
        json.raw(#","description":null,"format":null,"bytes":0,"file_count":0,"sha256":null,"status":"ready","status_detail":null"#)
        json.raw(#","architecture":null,"family":null,"parameters":null,"context_length":"#)
        if let length = endpoint.contextLength { json.integer(length) } else { json.raw("null" as StaticString) }
        json.raw(#","quantization":null,"dtype":null,"license":null,"tags":[],"workload_type":null,"capabilities":["#)
        json.string(endpoint.taskMode == .generate ? "chat" : endpoint.taskMode.rawValue)
        json.raw(#"],"task_modes":["#)
        json.string(endpoint.taskMode.rawValue)
        json.raw(#"],"version":"#)
        json.string(endpoint.modelVersion)
        json.raw(#","versions_count":1,"visibility":"private","catalog_role":null,"source":"http_upstream","preflight":{},"pinned":false"#)
        json.raw(#","deployments":1,"created_by":null,"updated_at":"#)
        json.integer(endpoint.createdAt)
        json.raw(#","retired_at":null,"x_model":"#)
        json.string(endpoint.modelID.description)
        guard entry.isEndpoint else { return }
        json.raw(#","x_endpoint":"#)
        json.string(endpoint.slug)
        json.raw(#","task_mode":"#)
        json.string(endpoint.taskMode.rawValue)
        json.raw(#","tier":"#)
        json.string(endpoint.tier.slug)
    }
}
