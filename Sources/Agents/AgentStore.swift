import Accounts
import OpenAI
import Postgres
import Server
import Tenancy

/// Which agents are asked for; nil = all.
public struct AgentFilter: Sendable {
    public var status: AgentObject.Status?
    public var role: AgentRole?
    public var region: String?
    /// Only those that wait for an approval.
    public var areCandidates = false

    public init(status: AgentObject.Status? = nil, role: AgentRole? = nil, region: String? = nil) {
        self.status = status
        self.role = role
        self.region = region
    }
}

/// Agents of a project. A revoked one is there no more.
extension TenantConnection {
    public func agent(_ id: ID<Agent>, for actor: AuditActor) throws -> AgentObject {
        try requireManager(actor)
        let rows = try query(
            "SELECT \(trusted: AgentObject.columns) FROM agents WHERE project_id = \(project) AND id = \(id) AND revoked_at IS NULL")
        guard let row = rows.first else { throw AgentError.noSuchAgent }
        return try AgentObject(row)
    }

    public func agents(_ list: ListQuery = ListQuery(), _ filter: AgentFilter = AgentFilter(), for actor: AuditActor) throws -> ListPage<
        AgentObject
    > {
        try requireManager(actor)
        try list.checkCursors { cursor in try query("SELECT 1 FROM agents WHERE project_id = \(project) AND id = \(cursor)") }
        return list.page(
            try query(
                """
                SELECT \(trusted: AgentObject.columns) FROM agents
                WHERE project_id = \(project) AND revoked_at IS NULL
                    AND (\(filter.status?.rawValue)::text IS NULL OR \(filter.status?.rawValue) = \(trusted: AgentObject.status))
                    AND (\(filter.role?.rawValue)::text IS NULL OR role = \(filter.role?.rawValue))
                    AND (\(filter.region)::text IS NULL OR region = \(filter.region))
                    AND (awaits_approval OR NOT \(filter.areCandidates))
                    \(page: list, of: "agents", in: project)
                """
            ).map(AgentObject.init))
    }

    /// What has happened to an agent.
    public func agentEvents(_ list: ListQuery = ListQuery(), of id: ID<Agent>, for actor: AuditActor) throws -> ListPage<AgentEventObject> {
        _ = try agent(id, for: actor)
        try list.checkCursors { cursor in
            try query("SELECT 1 FROM agent_events WHERE project_id = \(project) AND agent_id = \(id) AND id = \(cursor)")
        }
        return list.page(
            try query(
                """
                SELECT \(trusted: AgentEventObject.columns) FROM agent_events
                WHERE project_id = \(project) AND agent_id = \(id)
                    \(page: list, of: "agent_events", in: project)
                """
            ).map(AgentEventObject.init))
    }
}
