import OpenAI
import Server
import Tenancy

/// `GET management/project/audit` (08 §2.4).
public struct AuditRoutes: Sendable {
    private let database: TenantDatabase

    public init(database: TenantDatabase) { self.database = database }

    public var all: [Route] { [Route(.get, "management/project/audit", [.host, .project], .management, meter: .none, list)] }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        let filter = try AuditFilter(request.query)
        let actor = try context.actor(of: request)
        let page = try database.withConnection(of: context.principal.projectID) { try $0.auditLines(query, filter, for: actor) }
        return Response.list(page) { (id: $0.id, json: $0.json) }
    }
}

extension AuditFilter {
    init(_ query: Query) throws {
        action = query["action"]
        actor = query["actor"]
        from = try Self.second("from", query)
        to = try Self.second("to", query)
        if let from, let to, to < from { throw APIError.invalid("to", "'to' must not be before 'from'.") }
    }

    private static func second(_ name: String, _ query: Query) throws -> Int? {
        guard let text = query[name] else { return nil }
        guard let second = Int(text), (0...KeyRules.lastSecond).contains(second) else {
            throw APIError.invalid(name, "'\(name)' must be a time in unix seconds.")
        }
        return second
    }
}
