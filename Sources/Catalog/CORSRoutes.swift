import JSON
import OpenAI
import Server
import Tenancy

/// `endpoints/{id}/cors` (08 §3). Its entity tag is the number of policies that the endpoint has had.
public struct CORSRoutes: Sendable {
    private let database: TenantDatabase
    private let invalidations: Invalidations

    public init(database: TenantDatabase, invalidations: Invalidations) {
        self.database = database
        self.invalidations = invalidations
    }

    public var all: [Route] {
        [
            Route(.get, "endpoints/:id/cors", [.host, .project], .inferenceOrManagement, meter: .none, retrieve),
            Route(.put, "endpoints/:id/cors", [.host, .project], .management, meter: .none, replace),
        ]
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let name = request.pathParameters["id"] ?? ""
        let principal = try context.principal
        return try Self.answer(database.withConnection(of: principal.projectID) { try $0.corsPolicy(of: name, pin: principal.endpointPin) })
    }

    private func replace(_ request: Request, _ context: Context) throws -> Response {
        let policy = try RequestDocument.read(request.body, context.services.parser) { try CORSPolicy($0) }
        let condition = try request.ifMatch()
        let actor = try context.actor(of: request)
        let principal = try context.principal
        let stored = try database.withConnection(of: principal.projectID) {
            try $0.setCORSPolicy(policy, of: request.pathParameters["id"] ?? "", pin: principal.endpointPin, if: condition, by: actor)
        }
        invalidations.publish("project:\(principal.projectID)")
        return try Self.answer(stored)
    }

    private static func answer(_ stored: StoredCORSPolicy) throws -> Response {
        var response = try Response.json(encoding: stored.policy)
        response.headers.append(("ETag", "\"\(stored.generation)\""))
        return response
    }
}
