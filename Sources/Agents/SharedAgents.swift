import OpenAI
import Postgres
import Server
import Tenancy

/// Agents of the operator, which serve all projects of their tiers (05 §22), and the join keys that enrol them. They belong to no project: none is
/// shown them, and what is done to them stands in the platform's audit log.
extension SystemConnection {
    /// Stands in the place of a project's slug in the value of their join keys.
    private static let slug = "shared"

    /// Makes a key and stores its digest; its value is only in the answer.
    public func createSharedJoinKey(_ new: NewJoinKey, by actor: AuditActor) throws -> JoinKeyObject {
        try transaction {
            if let tiers = new.supportedTiers {
                let known = try query("SELECT slug FROM service_tiers WHERE slug = ANY (\(tiers)::text[])").map {
                    try $0.get("slug", as: String.self)
                }
                for tier in tiers where !known.contains(tier) { throw JoinKeyError.noSuchTier(tier) }
            }
            guard let value = JoinKeyText.random(projectSlug: Self.slug) else {
                throw APIError.invalid("project", "The slug '\(Self.slug)' cannot be part of a join key.")
            }
            let rows = try query(
                """
                INSERT INTO join_keys (id, project_id, name, prefix, key_hash, role, region, supported_tiers, router_addr, max_concurrent_requests, expires_at)
                VALUES (\(ID<JoinKey>.random()), NULL, \(new.name), \(value.shownPrefix), \(value.digest.bytes), \(new.role.rawValue), \(new.region),
                    \(new.supportedTiers)::text[], \(new.routerAddress), \(new.maxConcurrent), now() + make_interval(secs => \(Double(new.lifetime))))
                RETURNING \(trusted: JoinKeyObject.columns)
                """)
            var key = try JoinKeyObject(rows[0])
            try audit(AuditEntry(action: "join_key.create", target: ("join_key", key.id.description), after: key), by: actor)
            key.key = value.value
            return key
        }
    }

    /// The newest first.
    public func sharedJoinKeys() throws -> [JoinKeyObject] {
        try query("SELECT \(trusted: JoinKeyObject.columns) FROM join_keys WHERE project_id IS NULL ORDER BY created_at DESC, id DESC").map(
            JoinKeyObject.init)
    }

    public func revokeSharedJoinKey(_ id: ID<JoinKey>, by actor: AuditActor) throws -> JoinKeyObject {
        try transaction {
            let found = try query(
                "SELECT \(trusted: JoinKeyObject.columns) FROM join_keys WHERE project_id IS NULL AND id = \(id) FOR UPDATE")
            guard let before = try found.first.map(JoinKeyObject.init) else { throw JoinKeyError.noSuchKey }
            guard before.state == .active else { throw JoinKeyError.over(before.state) }
            let after = try JoinKeyObject(
                query("UPDATE join_keys SET revoked_at = now() WHERE id = \(id) RETURNING \(trusted: JoinKeyObject.columns)")[0])
            try audit(AuditEntry(action: "join_key.revoke", target: ("join_key", id.description), before: before, after: after), by: actor)
            return after
        }
    }

    /// The newest first; removed ones are there no more.
    public func sharedAgents() throws -> [AgentObject] {
        try query(
            """
            SELECT \(trusted: AgentObject.columns) FROM agents WHERE project_id IS NULL AND revoked_at IS NULL ORDER BY created_at DESC, id DESC
            """
        ).map(AgentObject.init)
    }

    public func changeSharedAgent(_ id: ID<Agent>, _ step: SharedAgentStep, by actor: AuditActor) throws -> AgentObject {
        try transaction {
            let found = try query(
                """
                SELECT \(trusted: AgentObject.columns) FROM agents WHERE project_id IS NULL AND id = \(id) AND revoked_at IS NULL FOR UPDATE
                """)
            guard let before = try found.first.map(AgentObject.init) else { throw AgentError.noSuchAgent }
            guard before.status != .revoked || step == .remove else { throw AgentError.isRevoked }
            let after = try AgentObject(
                query("UPDATE agents SET \(trusted: step.change) WHERE id = \(id) RETURNING \(trusted: AgentObject.columns)")[0])
            try note(step.event, of: after)
            try audit(AuditEntry(action: step.action, target: ("agent", id.description), before: before, after: after), by: actor)
            return after
        }
    }
}

/// What the operator does with a shared agent; see `AgentChanges` for the same of projects' own.
public enum SharedAgentStep: String, Sendable, CaseIterable {
    case suspend, activate, drain, revokeCredentials = "revoke-credentials", remove

    fileprivate var change: String {
        switch self {
        case .suspend: "suspended_at = coalesce(suspended_at, now())"
        case .activate: "suspended_at = NULL, drain_until = NULL"
        case .drain: "drain_until = now() + interval '\(AgentBodies.usualDrain) seconds'"
        case .revokeCredentials: "credentials_revoked_at = now(), drain_until = NULL, rotation_nonce = NULL, rotation_reason = NULL"
        case .remove: "revoked_at = now(), drain_until = now() + interval '\(AgentBodies.usualDrain) seconds'"
        }
    }

    fileprivate var event: AgentEventType {
        switch self {
        case .suspend: .suspended
        case .activate: .activated
        case .drain: .draining
        case .revokeCredentials: .credentialsRevoked
        case .remove: .removed
        }
    }

    fileprivate var action: String {
        switch self {
        case .suspend: "agent.suspend"
        case .activate: "agent.activate"
        case .drain: "agent.drain"
        case .revokeCredentials: "agent.revoke_credentials"
        case .remove: "agent.revoke"
        }
    }
}
