import HTTPClient
import OpenAI
import Server
import Tenancy

/// `billing/budgets` (08 §8).
public struct BudgetRoutes: Sendable {
    private let database: TenantDatabase
    private let invalidations: Invalidations
    private let outbound: OutboundGuard

    /// - Parameter outbound: says which webhooks may be called.
    public init(database: TenantDatabase, invalidations: Invalidations, outbound: OutboundGuard) {
        self.database = database
        self.invalidations = invalidations
        self.outbound = outbound
    }

    public var all: [Route] {
        [
            Route(.get, "billing/budgets", [.host, .project], .management, meter: .none, list),
            Route(.post, "billing/budgets", [.host, .project], .management, meter: .none, create),
            Route(.post, "billing/budgets/check", [.host, .project], .management, meter: .none, isBodyOptional: true, check),
            Route(.get, "billing/budgets/:id", [.host, .project], .management, meter: .none, retrieve),
            Route(.put, "billing/budgets/:id", [.host, .project], .management, meter: .none, replace),
            Route(.delete, "billing/budgets/:id", [.host, .project], .management, meter: .none, delete),
            Route(.get, "billing/budgets/:id/history", [.host, .project], .management, meter: .none, history),
        ]
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.budgets(query) })
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let settings = try settings(request, context)
        return try change(request, context, status: 201) { try $0.createBudget(settings, by: $1) }
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.budget(id) })
    }

    private func replace(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let settings = try settings(request, context)
        return try change(request, context) { try $0.replaceBudget(id, by: settings, by: $1) }
    }

    private func delete(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        return try change(request, context) { connection, actor in
            try connection.deleteBudget(id, by: actor)
            return DeletedBudget(id: id)
        }
    }

    private func history(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        var query = try ListQuery(request.query)
        if request.query["limit"] == nil { query.limit = 50 }
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.budgetAlerts(of: id, query) })
    }

    private func check(_ request: Request, _ context: Context) throws -> Response {
        try context.write(request, to: database) { try .json(encoding: $0.checkBudgets()) }
    }

    /// Makes a change, and tells the gateways once it is committed: they give up what they hold under the caps as they were.
    private func change(
        _ request: Request, _ context: Context, status: Int = 200, _ body: (TenantConnection, AuditActor) throws -> any Encodable
    ) throws -> Response {
        let actor = try context.actor(of: request)
        let project = try context.principal.projectID
        let response = try context.write(request, to: database) { try .json(encoding: body($0, actor), status: status) }
        invalidations.publish("project:\(project)")
        return response
    }

    private func settings(_ request: Request, _ context: Context) throws -> BudgetSettings {
        try RequestDocument.read(request.body, context.services.parser) { try BudgetBodies.read($0, outbound) }
    }

    private static func id(_ request: Request) throws -> ID<Budget> {
        guard let id = ID<Budget>(request.pathParameters["id"] ?? "") else { throw BudgetError.noSuchBudget }
        return id
    }
}
