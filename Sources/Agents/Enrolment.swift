import Crypto
import Foundation
import Jobs
import OpenAI
import Postgres
import Server
import Tenancy

/// Makes agents of join keys. What changes and its lines in the audit log are one transaction.
extension SystemDatabase {
    /// Consumes a join key and makes its agent. An agent that asks again within ten minutes with the same keys has lost the answer, and gets it again.
    /// - Parameter region: of agents whose join key names none.
    /// - Returns: the agent, and the router that its join key names.
    public func enrol(_ new: NewAgent, with value: JoinKeyText, region: String, by actor: AuditActor) throws -> (
        agent: AgentObject, routerAddress: String?
    ) {
        try transaction { try $0.enrol(new, with: value, region: region, by: actor) }
    }

    /// The key that an agent signs with; nil where there is no such agent, or it was revoked.
    public func signingKey(of agent: ID<Agent>) throws -> [UInt8]? {
        try withConnection {
            try $0.query("SELECT signing_public_key FROM agents WHERE id = \(agent) AND \(trusted: AgentObject.mayComeIn)").first?.get(
                "signing_public_key")
        }
    }
}

extension SystemConnection {
    fileprivate func enrol(_ new: NewAgent, with value: JoinKeyText, region: String, by actor: AuditActor) throws -> (AgentObject, String?)
    {
        let found = try query(
            """
            SELECT id, project_id, role, region, router_addr, supported_tiers, max_concurrent_requests, agent_id, revoked_at IS NOT NULL AS is_revoked,
                expires_at <= now() AS is_over, consumed_at > now() - interval '10 minutes' AS may_ask_again
            FROM join_keys WHERE key_hash = \(value.digest.bytes) FOR UPDATE
            """)
        guard let key = found.first, try !key.get("is_revoked", as: Bool.self) else { throw AgentError.invalidJoinKey }
        let address: String? = try key.optional("router_addr")
        if let agent = try key.optional("agent_id", as: ID<Agent>.self) {
            guard try key.optional("may_ask_again") == true, let same = try enrolled(agent, as: new) else {
                throw AgentError.joinKeyConsumed
            }
            return (same, address)
        }
        guard try !key.get("is_over", as: Bool.self) else { throw AgentError.joinKeyExpired }
        let role = AgentRole(rawValue: try key.get("role")) ?? .inference
        guard role == new.role else { throw AgentError.otherRole(role) }
        let project: ID<Project>? = try key.optional("project_id")
        let agent = try make(new, region: try key.optional("region") ?? region, of: key, in: project)
        let id: ID<JoinKey> = try key.get("id")
        let consumed = try query(
            "UPDATE join_keys SET consumed_at = now(), agent_id = \(agent.id) WHERE id = \(id) RETURNING \(trusted: JoinKeyObject.columns)")
        if let project { try emit(Event(.joinKeyConsumed, JoinKeyEventData(JoinKeyObject(consumed[0]))), of: project) }
        try note(.enrolled, of: agent)
        try audit(AuditEntry(action: "join_key.consume", target: ("join_key", id.description)), of: project, by: actor)
        try audit(AuditEntry(action: "agent.enroll", target: ("agent", agent.id.description), after: agent), of: project, by: actor)
        return (agent, address)
    }

    private func enrolled(_ agent: ID<Agent>, as new: NewAgent) throws -> AgentObject? {
        try query(
            """
            SELECT \(trusted: AgentObject.columns) FROM agents
            WHERE id = \(agent) AND \(trusted: AgentObject.mayComeIn) AND curve_public_key = \(new.curvePublicKey) AND signing_public_key = \(new.signingPublicKey)
            """
        ).first.map(AgentObject.init)
    }

    /// An agent whose credentials were revoked is the one that it was, with new keys.
    /// - Parameter project: nil = it becomes the operator's.
    private func make(_ new: NewAgent, region: String, of key: Row, in project: ID<Project>?) throws -> AgentObject {
        // Two at once would otherwise both find the last place free.
        let settings = try query(
            "SELECT coalesce((settings->>'approve_new_agents')::boolean, false) AS approves FROM projects WHERE id = \(project) FOR UPDATE")
        let awaitsApproval = try settings.first?.get("approves", as: Bool.self) ?? false
        let platform = String(decoding: try JSONEncoder().encode(new.platform ?? NewAgent.Platform()), as: UTF8.self)
        let accelerators = String(decoding: try JSONEncoder().encode(new.accelerators), as: UTF8.self)
        guard try query("SELECT 1 FROM agents WHERE curve_public_key = \(new.curvePublicKey)").isEmpty else {
            throw AgentError.curveKeyTaken
        }
        let again = try query(
            """
            UPDATE agents SET curve_public_key = \(new.curvePublicKey), signing_public_key = \(new.signingPublicKey), hostname = \(new.hostname),
                agent_version = \(new.version), platform = \(platform)::jsonb, accelerators = \(accelerators)::jsonb, credentials_revoked_at = NULL,
                previous_curve_key = NULL, is_online = false, last_heartbeat_at = NULL, awaits_approval = \(awaitsApproval)
            WHERE project_id IS NOT DISTINCT FROM \(project) AND name = \(new.name) AND role = \(new.role.rawValue) AND revoked_at IS NULL
                AND credentials_revoked_at IS NOT NULL
            RETURNING \(trusted: AgentObject.columns)
            """)
        if let row = again.first { return try AgentObject(row) }
        let count: Int = try query("SELECT count(*) AS agents FROM agents WHERE project_id = \(project) AND revoked_at IS NULL")[0].get(
            "agents")
        guard count < AgentError.most || project == nil else { throw AgentError.tooMany }
        let allowed: Int = try key.get("max_concurrent_requests")
        let tiers: [String]? = try key.optional("supported_tiers", as: String.self) == nil ? nil : key.texts("supported_tiers")
        let id = ID<Agent>.random()
        let rows = try query(
            """
            INSERT INTO agents (id, project_id, name, worker_id, role, region, curve_public_key, signing_public_key, hostname, agent_version, platform,
                accelerators, max_concurrent_requests, supported_tiers, awaits_approval)
            VALUES (\(id), \(project), \(new.name), \("\(region):\(id)"), \(new.role.rawValue), \(region), \(new.curvePublicKey),
                \(new.signingPublicKey), \(new.hostname), \(new.version), \(platform)::jsonb, \(accelerators)::jsonb,
                \(allowed == 0 ? new.maxConcurrent : allowed), \(tiers)::text[], \(awaitsApproval))
            ON CONFLICT DO NOTHING RETURNING \(trusted: AgentObject.columns)
            """)
        if let row = rows.first { return try AgentObject(row) }
        let isName = try !query(
            "SELECT 1 FROM agents WHERE project_id IS NOT DISTINCT FROM \(project) AND name = \(new.name) AND revoked_at IS NULL"
        ).isEmpty
        throw isName ? AgentError.nameTaken : AgentError.curveKeyTaken
    }
}
