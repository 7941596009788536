import Crypto
import HTTPClient
import JSON
import OpenAI
import Server
import Tenancy

/// `endpoints` (07 §6). Keys of scope `inference` read, keys of scope `management` write; a key with both sees where the upstream is, too.
public struct EndpointRoutes: Sendable {
    private let database: TenantDatabase
    private let sealing: Sealing
    private let outbound: OutboundGuard
    private let invalidations: Invalidations
    private let publicURL: String

    /// - Parameter publicURL: the origin at which clients reach the platform; empty = the one they have just used, by https.
    public init(database: TenantDatabase, sealing: Sealing, outbound: OutboundGuard, invalidations: Invalidations, publicURL: String) {
        self.database = database
        self.sealing = sealing
        self.outbound = outbound
        self.invalidations = invalidations
        self.publicURL = publicURL
    }

    public var all: [Route] {
        [
            Route(.get, "endpoints", [.host, .project], .inference, meter: .none, list),
            Route(.post, "endpoints", [.host, .project], .management, meter: .none, create),
            Route(.get, "endpoints/:id", [.host, .project], .inference, meter: .none, retrieve),
            Route(.patch, "endpoints/:id", [.host, .project], .management, meter: .none) { try self.change($0, $1, isWhole: false) },
            Route(.put, "endpoints/:id", [.host, .project], .management, meter: .none) { try self.change($0, $1, isWhole: true) },
            Route(.delete, "endpoints/:id", [.host, .project], .management, meter: .none, delete),
            Route(.get, "endpoints/:id/stats", [.host, .project], .inference, meter: .none, stats),
            Route(.get, "endpoints/:id/limits", [.host, .project], .inference, meter: .none, limits),
            step(.activate), step(.deactivate), step(.restart),
        ]
    }

    private func step(_ step: EndpointStep) -> Route {
        Route(.post, "endpoints/:id/\(step.rawValue)", [.host, .project], .management, meter: .none, isBodyOptional: true) {
            request, context in
            let actor = try context.actor(of: request)
            return try self.write(request, context, status: 202) {
                try $0.step(step, endpoint: $1, if: request.ifMatch(), by: actor)
            }
        }
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        var filter = try EndpointFilter(request.query)
        let principal = try context.principal
        filter.only = principal.endpointPin
        var page = try database.withConnection(of: principal.projectID) { try $0.endpoints(query, filter) }
        page.data = page.data.map { shown($0, request, principal) }
        return try .list(page)
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let principal = try context.principal
        return try response(try withEndpoint(request, principal) { try $0.requireEndpoint($1) }, request, principal)
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let body = try RequestDocument.read(request.body, context.services.parser) { try EndpointBody($0, isWhole: true) }
        let principal = try context.principal
        guard let slug = body.slug else { throw APIError.missing("slug") }
        try EndpointRules.check(slug: slug)
        if let pin = principal.endpointPin, pin != slug { throw Self.pinned("slug") }
        let actor = try context.actor(of: request)
        let scale = context.services.timeScale
        let change = try vet(body.change, principal)
        let answer = try context.write(request, to: database) {
            let endpoint = try $0.writeEndpoint(slug, .create, change, timeScale: scale, by: actor)
            return try response(endpoint, request, principal, status: 201)
        }
        tell(principal)
        return answer
    }

    private func change(_ request: Request, _ context: Context, isWhole: Bool) throws -> Response {
        let body = try RequestDocument.read(request.body, context.services.parser) { try EndpointBody($0, isWhole: isWhole) }
        let condition = try request.ifMatch()
        let actor = try context.actor(of: request)
        let change = try vet(body.change, context.principal)
        return try write(request, context) { connection, name in
            if let slug = body.slug, try connection.requireEndpoint(name).slug != slug {
                throw APIError.invalid("slug", "The slug of an endpoint never changes.")
            }
            return try connection.writeEndpoint(name, .change(if: condition), change, by: actor)
        }
    }

    private func delete(_ request: Request, _ context: Context) throws -> Response {
        let condition = try request.ifMatch()
        let actor = try context.actor(of: request)
        let principal = try context.principal
        let answer = try context.write(request, to: database) { connection in
            let name = try allowedName(request, principal, connection)
            return try .json(encoding: DeletedEndpoint(id: try connection.deleteEndpoint(name, if: condition, by: actor).id))
        }
        tell(principal)
        return answer
    }

    private func stats(_ request: Request, _ context: Context) throws -> Response {
        let text = request.query["window"] ?? StatsWindow.hour.rawValue
        guard let window = StatsWindow(rawValue: text) else {
            throw APIError.invalid("window", "'window' must be \(StatsWindow.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        let stats = try withEndpoint(request, context.principal) { try $0.endpointStats($1, window) }
        return try .json(encoding: stats)
    }

    /// For the key that asks.
    private func limits(_ request: Request, _ context: Context) throws -> Response {
        let principal = try context.principal
        let stored = try withEndpoint(request, principal) { connection, name in
            let id = try connection.requireEndpoint(name).id
            return try connection.endpoints().first { $0.record.id == id }
        }
        guard let endpoint = stored?.record else { throw CatalogError.endpointNotFound }
        return try .json(encoding: EndpointLimitList(endpoint, quota: principal.restrictions?.quota))
    }

    // MARK: Common parts

    private func vet(_ change: EndpointChange, _ principal: Principal) throws -> VettedEndpointChange {
        try VettedEndpointChange(change, of: principal.projectID, sealing: sealing, outbound: outbound)
    }

    /// Changes the endpoint of the path, and tells the gateways once that is committed.
    private func write(
        _ request: Request, _ context: Context, status: Int = 200, _ body: (TenantConnection, String) throws -> EndpointObject
    ) throws -> Response {
        let principal = try context.principal
        let answer = try context.write(request, to: database) { connection in
            let endpoint = try body(connection, try allowedName(request, principal, connection))
            return try response(endpoint, request, principal, status: status)
        }
        tell(principal)
        return answer
    }

    /// Runs `body` with the endpoint's name out of the path, once it is clear that the key may have it.
    private func withEndpoint<Result>(
        _ request: Request, _ principal: Principal, _ body: (TenantConnection, String) throws -> Result
    ) throws -> Result {
        try database.withConnection(of: principal.projectID) { try body($0, try allowedName(request, principal, $0)) }
    }

    private func allowedName(_ request: Request, _ principal: Principal, _ connection: TenantConnection) throws -> String {
        let name = request.pathParameters["id"] ?? ""
        if let pin = principal.endpointPin, try connection.requireEndpoint(name).slug != pin { throw Self.pinned(nil) }
        return name
    }

    /// - Parameter param: the member of the body that names the endpoint; nil where the path does.
    private static func pinned(_ param: String?) -> APIError {
        APIError(.endpointMismatch, "The API key is pinned to another endpoint.", param: param)
    }

    private func tell(_ principal: Principal) { invalidations.publish("project:\(principal.projectID)") }

    private func response(_ endpoint: EndpointObject, _ request: Request, _ principal: Principal, status: Int = 200) throws -> Response {
        var response = try Response.json(encoding: shown(endpoint, request, principal), status: status)
        response.headers.append(("ETag", "\"\(endpoint.generation)\""))
        return response
    }

    private func shown(_ endpoint: EndpointObject, _ request: Request, _ principal: Principal) -> EndpointObject {
        var endpoint = endpoint
        let origin = publicURL.isEmpty ? "https://\(request.header("HTTP_HOST") ?? "localhost")" : publicURL
        endpoint.baseURL = "\(origin)/\(principal.projectSlug)/\(endpoint.slug)/v1"
        endpoint.showsUpstream = principal.scopes.contains(.management)
        return endpoint
    }
}

/// The answer to a deletion.
private struct DeletedEndpoint: Encodable {
    var id: ID<Endpoint>
    var object = "endpoint.deleted"
    var deleted = true
}
