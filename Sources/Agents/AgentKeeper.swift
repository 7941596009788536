import Jobs
import OpenAI
import Postgres
import Server
import Tenancy

/// Whoever agents and their join keys belong to: a project, or the operator, whose agents serve all (05 §22). What is done to them is the same; each
/// change, its entry in the agent's history and its line in the owner's audit log are one transaction.
protocol AgentKeeper {
    /// nil = the operator.
    var owner: ID<Project>? { get }

    @discardableResult
    func query(_ sql: SQL) throws -> [Row]
    func transaction<Value>(_ body: () throws -> Value) throws -> Value

    func note(_ type: AgentEventType, of agent: AgentObject, because reason: String?, by actor: AuditActor) throws
    /// Tells the webhooks of a project; of what is the operator's nobody is told.
    func tell(_ event: Event) throws
    func log(_ entry: AuditEntry, by actor: AuditActor) throws
}

extension TenantConnection: AgentKeeper {
    var owner: ID<Project>? { project }

    func tell(_ event: Event) throws { try emit(event) }
    func log(_ entry: AuditEntry, by actor: AuditActor) throws { try audit(entry, by: actor) }
}
