import Jobs
import OpenAI
import Server
import Tenancy

/// As a keeper of agents, who sees all projects is the operator, and the agents are those of no project: none is shown them, and what is done to them
/// stands in the platform's audit log.
extension SystemConnection: AgentKeeper {
    var owner: ID<Project>? { nil }

    func note(_ type: AgentEventType, of agent: AgentObject, because reason: String?, by actor: AuditActor) throws {
        try note(type, of: agent, because: reason)
    }

    func tell(_ event: Event) {}
    func log(_ entry: AuditEntry, by actor: AuditActor) throws { try audit(entry, by: actor) }
}

/// What the operator does with shared agents and the join keys that enrol them.
extension SystemConnection {
    /// Stands in the place of a project's slug in the value of their join keys.
    private static let slug = "shared"

    /// Makes a key and stores its digest; its value is only in the answer.
    public func createSharedJoinKey(_ new: NewJoinKey, by actor: AuditActor) throws -> JoinKeyObject {
        try makeJoinKey(new, slug: Self.slug, timeScale: 1, by: actor)
    }

    /// The newest first.
    public func sharedJoinKeys() throws -> [JoinKeyObject] {
        try query("SELECT \(trusted: JoinKeyObject.columns) FROM join_keys WHERE project_id IS NULL ORDER BY created_at DESC, id DESC").map(
            JoinKeyObject.init)
    }

    public func revokeSharedJoinKey(_ id: ID<JoinKey>, by actor: AuditActor) throws -> JoinKeyObject { try endJoinKey(id, by: actor) }

    /// The newest first; removed ones are there no more.
    public func sharedAgents() throws -> [AgentObject] {
        try query(
            """
            SELECT \(trusted: AgentObject.columns) FROM agents WHERE project_id IS NULL AND revoked_at IS NULL ORDER BY created_at DESC, id DESC
            """
        ).map(AgentObject.init)
    }

    public func changeSharedAgent(_ id: ID<Agent>, _ step: AgentStep, by actor: AuditActor) throws -> AgentObject {
        try take(step, id, because: nil, by: actor)
    }
}
