import JSON
import Mesh
import OpenAI
import Server
import Tenancy

/// `management/agents` (05 §21): the agents of a project.
public struct AgentRoutes: Sendable {
    private let database: TenantDatabase

    public init(database: TenantDatabase) { self.database = database }

    private static let path = "management/agents/:id"

    public var all: [Route] {
        [
            route(.get, "management/agents", list),
            route(.get, "management/agents/candidates", candidates),
            route(.get, Self.path, retrieve),
            route(.patch, Self.path, change),
            route(.delete, Self.path, remove),
            route(.get, "\(Self.path)/events", events),
            route(.get, "\(Self.path)/models", models),
            route(.post, "\(Self.path)/models", assign),
            route(.post, "\(Self.path)/drain", drain),
        ]
            + [
                ("suspend", .suspend), ("pause", .suspend), ("activate", .activate), ("resume", .activate), ("approve", .approve),
                ("reject", .reject), ("revoke-credentials", .revokeCredentials),
            ].map { (name: String, step: AgentStep) in
                route(.post, "\(Self.path)/\(name)") {
                    try change($0, $1) { try $0.take(step, with: $1, because: $2, by: $3) }
                }
            }
            + [route(.post, "\(Self.path)/curve-rotate") { try change($0, $1) { try $0.rotateCurveKey(of: $1, because: $2, by: $3) } }]
    }

    private func route(_ method: Method, _ path: String, _ handler: @escaping Handler) -> Route {
        Route(method, path, [.host, .project], .management, meter: .none, isBodyOptional: method == .post, handler)
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        let filter = AgentFilter(
            status: try Self.choice("status", request), role: try Self.choice("role", request), region: request.query["region"])
        let actor = try context.actor(of: request)
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.agents(query, filter, for: actor) })
    }

    /// Those that wait until a manager approves them, where the project wants that.
    private func candidates(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        var filter = AgentFilter()
        filter.areCandidates = true
        let actor = try context.actor(of: request)
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.agents(query, filter, for: actor) })
    }

    /// What its engine has, an agent serves; models of the platform are not sent to agents yet (05 §19).
    private func assign(_ request: Request, _ context: Context) throws -> Response {
        _ = try agent(request, context)
        throw APIError.invalid("action", "Models are not sent to agents yet: an agent serves what its engine has.")
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        try .json(encoding: agent(request, context))
    }

    /// All at once: an agent has few.
    private func models(_ request: Request, _ context: Context) throws -> Response {
        try .json(encoding: AgentModels(data: agent(request, context).models))
    }

    private func agent(_ request: Request, _ context: Context) throws -> AgentObject {
        let id = try Self.id(request)
        let actor = try context.actor(of: request)
        return try database.withConnection(of: context.principal.projectID) { try $0.agent(id, for: actor) }
    }

    private func events(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let query = try ListQuery(request.query)
        let actor = try context.actor(of: request)
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.agentEvents(query, of: id, for: actor) })
    }

    private func change(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let change = try RequestDocument.read(request.body, context.services.parser) { try AgentBodies.change($0) }
        let actor = try context.actor(of: request)
        return try context.write(request, to: database) { try .json(encoding: $0.changeAgent(id, change, by: actor)) }
    }

    private func remove(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let actor = try context.actor(of: request)
        let drain = Double(AgentBodies.usualDrain) * context.services.timeScale
        return try context.write(request, to: database) {
            _ = try $0.take(.remove(drainSeconds: drain), with: id, by: actor)
            return try .json(encoding: DeletedAgent(id: id))
        }
    }

    private func drain(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let seconds = try body(request, context, AgentBodies.drain) ?? AgentBodies.usualDrain
        let actor = try context.actor(of: request)
        let scaled = Double(seconds) * context.services.timeScale
        return try context.write(request, to: database) {
            try .json(encoding: $0.take(.drain(seconds: scaled), with: id, by: actor), status: 202)
        }
    }

    /// A change that is told no more than its reason.
    private func change(
        _ request: Request, _ context: Context, _ change: (TenantConnection, ID<Agent>, String?, AuditActor) throws -> AgentObject
    ) throws -> Response {
        let id = try Self.id(request)
        let reason = try body(request, context, AgentBodies.reason) ?? nil
        let actor = try context.actor(of: request)
        return try context.write(request, to: database) { try .json(encoding: change($0, id, reason, actor), status: 202) }
    }

    private func body<Value>(_ request: Request, _ context: Context, _ read: (JSONElement) throws -> Value) throws -> Value? {
        request.body.isEmpty ? nil : try RequestDocument.read(request.body, context.services.parser, read)
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

/// The models of an agent.
private struct AgentModels: Encodable {
    var object = "list"
    var data: [ModelReport]
}

/// The answer to a deletion.
private struct DeletedAgent: Encodable {
    var id: ID<Agent>
    var object = "agent.deleted"
    var deleted = true
}
