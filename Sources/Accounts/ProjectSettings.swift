import OpenAI
import Postgres
import Server
import Tenancy

/// What managers set for their whole project (08 §2). Only what something acts on is here.
public struct ProjectSettings: Sendable, Encodable, Equatable {
    /// An agent that has enrolled gets no work until a manager has approved it.
    public var approveNewAgents = false

    public enum Key: String, Sendable, CaseIterable { case approveNewAgents = "approve_new_agents" }

    private enum CodingKeys: String, CodingKey {
        case approveNewAgents = "approve_new_agents"
    }
}

extension TenantConnection {
    public func settings(for actor: AuditActor) throws -> ProjectSettings {
        try requireManager(actor)
        return try storedSettings("")
    }

    /// - Returns: all of them, as they are now.
    public func setSetting(_ key: ProjectSettings.Key, to value: Bool, by actor: AuditActor) throws -> ProjectSettings {
        try transaction {
            try requireManager(actor)
            let before = try storedSettings("FOR UPDATE")
            try query(
                """
                UPDATE projects SET settings = settings || jsonb_build_object(\(key.rawValue)::text, \(value)::boolean), updated_at = now()
                WHERE id = \(project)
                """)
            let after = try storedSettings("")
            try audit(
                AuditEntry(action: "project.set_setting", target: ("project", project.description), before: before, after: after), by: actor
            )
            return after
        }
    }

    private func storedSettings(_ lock: String) throws -> ProjectSettings {
        let row = try query(
            """
            SELECT coalesce((settings->>'approve_new_agents')::boolean, false) AS approve_new_agents FROM projects
            WHERE id = \(project) \(trusted: lock)
            """)[0]
        return ProjectSettings(approveNewAgents: try row.get("approve_new_agents"))
    }
}
