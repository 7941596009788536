import HTTPClient
import OpenAI
import Server
import Tenancy

/// `billing/budgets` (08 §8).
public struct BudgetRoutes: Sendable {
    private let database: TenantDatabase
    private let invalidations: Invalidations
    private let outbound: OutboundGuard
    private let webhooks: any BudgetWebhooks

    /// - Parameter outbound: says which webhooks may be called.
    public init(database: TenantDatabase, invalidations: Invalidations, outbound: OutboundGuard, webhooks: any BudgetWebhooks) {
        self.database = database
        self.invalidations = invalidations
        self.outbound = outbound
        self.webhooks = webhooks
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
        let setWebhook = try webhooks.writer(of: context.principal.projectID)
        return try change(request, context, status: 201) { connection, actor in
            var budget = try connection.createBudget(settings, by: actor)
            budget.webhookSecret = try setWebhook(connection, budget.id, settings.calledURL)
            return budget
        }
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.budget(id) })
    }

    private func replace(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let settings = try settings(request, context)
        let setWebhook = try webhooks.writer(of: context.principal.projectID)
        return try change(request, context) { connection, actor in
            var budget = try connection.replaceBudget(id, by: settings, by: actor)
            budget.webhookSecret = try setWebhook(connection, id, settings.calledURL)
            return budget
        }
    }

    private func delete(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let setWebhook = try webhooks.writer(of: context.principal.projectID)
        return try change(request, context) { connection, actor in
            try connection.deleteBudget(id, by: actor)
            _ = try setWebhook(connection, id, nil)
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
