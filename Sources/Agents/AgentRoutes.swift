import OpenAI
import Server
import Tenancy

/// `management/agents` (05 §21): the agents of a project.
public struct AgentRoutes: Sendable {
    private let database: TenantDatabase

    public init(database: TenantDatabase) { self.database = database }

    public var all: [Route] {
        [
            Route(.get, "management/agents", [.host, .project], .management, meter: .none, list),
            Route(.get, "management/agents/:id", [.host, .project], .management, meter: .none, retrieve),
            Route(.delete, "management/agents/:id", [.host, .project], .management, meter: .none, revoke),
        ]
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        let filter = AgentFilter(
            status: try Self.choice("status", request), role: try Self.choice("role", request), region: request.query["region"])
        let actor = try context.actor(of: request)
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.agents(query, filter, for: actor) })
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let actor = try context.actor(of: request)
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.agent(id, for: actor) })
    }

    private func revoke(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let actor = try context.actor(of: request)
        return try context.write(request, to: database) {
            try $0.revokeAgent(id, by: actor)
            return try .json(encoding: DeletedAgent(id: id))
        }
    }

    private static func id(_ request: Request) throws -> ID<Agent> {
        guard let id = ID<Agent>(request.pathParameters["id"] ?? "") else { throw AgentError.noSuchAgent }
        return id
    }

    private static func choice<Value: CaseIterable & RawRepresentable<String>>(_ name: String, _ request: Request) throws -> Value? {
        guard let text = request.query[name] else { return nil }
        guard let value = Value(rawValue: text) else {
            throw APIError.invalid(name, "'\(name)' must be one of \(Value.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")).")
        }
        return value
    }
}

/// The answer to a deletion.
private struct DeletedAgent: Encodable {
    var id: ID<Agent>
    var object = "agent.deleted"
    var deleted = true
}
