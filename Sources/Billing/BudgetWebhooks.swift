import OpenAI
import Tenancy

/// Keeps the servers that budgets name for their alerts. `Notifications` does, which delivers to them as to any other webhook.
public protocol BudgetWebhooks: Sendable {
    /// What writes for a project; made before the transaction that it is used in.
    func writer(of project: ID<Project>) throws -> BudgetWebhookWriter
}

/// Sets the server of a budget, nil = none, in the caller's transaction; answers the secret that its calls will be signed with where that is new.
public typealias BudgetWebhookWriter = (TenantConnection, ID<Budget>, _ url: String?) throws -> String?
