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
        for (name, cursor) in [("after", list.after), ("before", list.before)] {
            guard let cursor else { continue }
            let rows = try query("SELECT 1 FROM agents WHERE project_id = \(project) AND id = \(cursor)")
            guard !rows.isEmpty else { throw ListQuery.badCursor(name) }
        }
        return list.page(
            try query(
                """
                SELECT \(trusted: AgentObject.columns) FROM agents
                WHERE project_id = \(project) AND revoked_at IS NULL
                    AND (\(filter.status?.rawValue)::text IS NULL OR \(filter.status?.rawValue) = \(trusted: AgentObject.status))
                    AND (\(filter.role?.rawValue)::text IS NULL OR role = \(filter.role?.rawValue))
                    AND (\(filter.region)::text IS NULL OR region = \(filter.region))
                    AND (\(list.after)::text IS NULL OR (agents.created_at, id) \(trusted: list.afterSide) (
                        SELECT c.created_at, c.id FROM agents c WHERE c.project_id = \(project) AND c.id = \(list.after)))
                    AND (\(list.before)::text IS NULL OR (agents.created_at, id) \(trusted: list.beforeSide) (
                        SELECT c.created_at, c.id FROM agents c WHERE c.project_id = \(project) AND c.id = \(list.before)))
                ORDER BY agents.created_at \(trusted: list.direction), id \(trusted: list.direction) LIMIT \(list.rows)
                """
            ).map(AgentObject.init))
    }

    /// Its token is good for nothing from now on, and its name may be taken by another.
    public func revokeAgent(_ id: ID<Agent>, by actor: AuditActor) throws {
        try transaction {
            try requireManager(actor)
            let rows = try query(
                """
                UPDATE agents SET revoked_at = now() WHERE project_id = \(project) AND id = \(id) AND revoked_at IS NULL
                RETURNING \(trusted: AgentObject.columns)
                """)
            guard let before = try rows.first.map(AgentObject.init) else { throw AgentError.noSuchAgent }
            try audit(AuditEntry(action: "agent.revoke", target: ("agent", id.description), before: before), by: actor)
        }
    }
}
