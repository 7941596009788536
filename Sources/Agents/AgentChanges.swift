import Accounts
import Crypto
import OpenAI
import Postgres
import Server
import Tenancy

/// What managers do with agents. Each change, its entry in the agent's history and its line in the audit log are one transaction; the mesh looks each
/// half second how its agents stand (`SystemDatabase.standings`).
extension TenantConnection {
    public func changeAgent(_ id: ID<Agent>, _ change: AgentChange, by actor: AuditActor) throws -> AgentObject {
        try transaction {
            let before = try lockedAgent(id, for: actor)
            if let name = change.name, name != before.name {
                let others = try query("SELECT 1 FROM agents WHERE project_id = \(project) AND name = \(name) AND revoked_at IS NULL")
                guard others.isEmpty else { throw AgentError.nameTaken }
            }
            let tiers = try change.supportedTiers.map { try $0.map(storedTiers) } ?? before.supportedTiers
            let rows = try query(
                """
                UPDATE agents SET name = \(change.name ?? before.name), description = \(change.description ?? before.description),
                    max_concurrent_requests = \(change.maxConcurrent ?? before.maxConcurrent), supported_tiers = \(tiers)::text[],
                    storage_limit_enabled = \(change.storageLimitEnabled ?? before.storageLimitEnabled),
                    storage_limit_bytes = \(change.storageLimitBytes ?? before.storageLimitBytes), region = \(change.region ?? before.region)
                WHERE project_id = \(project) AND id = \(id) RETURNING \(trusted: AgentObject.columns)
                """)
            let after = try AgentObject(rows[0])
            guard !after.storageLimitEnabled || after.storageLimitBytes != nil else {
                throw APIError(
                    .missingRequiredParameter, "A limit of storage needs 'storage_limit_bytes'.", param: "storage_limit_bytes")
            }
            try finish("agent.update", .updated, before, after, by: actor)
            return after
        }
    }

    /// It gets nothing new until it is activated; what runs goes on.
    public func suspendAgent(_ id: ID<Agent>, because reason: String?, by actor: AuditActor) throws -> AgentObject {
        try move(id, "agent.suspend", .suspended, because: reason, by: actor) {
            "UPDATE agents SET suspended_at = coalesce(suspended_at, now()) WHERE project_id = \(project) AND id = \(id)"
        }
    }

    /// It is neither suspended nor drained any more.
    public func activateAgent(_ id: ID<Agent>, because reason: String?, by actor: AuditActor) throws -> AgentObject {
        try move(id, "agent.activate", .activated, because: reason, by: actor) {
            "UPDATE agents SET suspended_at = NULL, drain_until = NULL WHERE project_id = \(project) AND id = \(id)"
        }
    }

    /// It gets nothing new, finishes what runs, and ends.
    /// - Parameter seconds: after which what still runs is cut.
    public func drainAgent(_ id: ID<Agent>, seconds: Double, by actor: AuditActor) throws -> AgentObject {
        try move(id, "agent.drain", .draining, by: actor) {
            "UPDATE agents SET drain_until = now() + make_interval(secs => \(seconds)) WHERE project_id = \(project) AND id = \(id)"
        }
    }

    /// Its token and its key are good for nothing, and its connection is cut; under its name it can be enrolled again.
    public func revokeCredentials(of id: ID<Agent>, because reason: String?, by actor: AuditActor) throws -> AgentObject {
        try transaction {
            let before = try lockedAgent(id, for: actor)
            guard before.status != .revoked else { throw AgentError.isRevoked }
            let rows = try query(
                """
                UPDATE agents SET credentials_revoked_at = now(), drain_until = NULL, rotation_nonce = NULL, rotation_reason = NULL
                WHERE project_id = \(project) AND id = \(id) RETURNING \(trusted: AgentObject.columns)
                """)
            let after = try AgentObject(rows[0])
            try finish("agent.revoke_credentials", .credentialsRevoked, before, after, because: reason, by: actor)
            return after
        }
    }

    /// Asks it for a new CURVE key; until it has answered, the old one is good.
    public func rotateCurveKey(of id: ID<Agent>, because reason: String?, by actor: AuditActor) throws -> AgentObject {
        try transaction {
            let agent = try lockedAgent(id, for: actor)
            guard agent.status != .revoked else { throw AgentError.isRevoked }
            let rows = try query(
                """
                UPDATE agents SET rotation_nonce = \(Random.bytes(32)), rotation_reason = \(reason)
                WHERE project_id = \(project) AND id = \(id) AND rotation_nonce IS NULL RETURNING \(trusted: AgentObject.columns)
                """)
            guard !rows.isEmpty else { throw AgentError.rotationUnderWay }
            try finish("agent.rotate_curve_key", .rotationRequested, agent, agent, because: reason, by: actor)
            return agent
        }
    }

    /// It is shown no more, its name may be taken, and its token is good for nothing from now on. What runs may go on for a while.
    /// - Parameter drainSeconds: how long.
    public func removeAgent(_ id: ID<Agent>, drainSeconds: Double, by actor: AuditActor) throws {
        try transaction {
            let before = try lockedAgent(id, for: actor)
            try query(
                """
                UPDATE agents SET revoked_at = now(), drain_until = now() + make_interval(secs => \(drainSeconds))
                WHERE project_id = \(project) AND id = \(id)
                """)
            try finish("agent.revoke", .removed, before, nil, by: actor)
        }
    }

    /// From now on it may have work.
    public func approveAgent(_ id: ID<Agent>, because reason: String?, by actor: AuditActor) throws -> AgentObject {
        try requireCandidate(id, for: actor)
        return try move(id, "agent.approve", .approved, because: reason, by: actor) {
            "UPDATE agents SET awaits_approval = false WHERE project_id = \(project) AND id = \(id)"
        }
    }

    /// It is no agent any more, and can be enrolled again only with another join key.
    public func rejectAgent(_ id: ID<Agent>, because reason: String?, by actor: AuditActor) throws -> AgentObject {
        try requireCandidate(id, for: actor)
        return try move(id, "agent.reject", .rejected, because: reason, by: actor) {
            "UPDATE agents SET revoked_at = now() WHERE project_id = \(project) AND id = \(id)"
        }
    }

    private func requireCandidate(_ id: ID<Agent>, for actor: AuditActor) throws {
        try requireManager(actor)
        let found = try query(
            "SELECT awaits_approval FROM agents WHERE project_id = \(project) AND id = \(id) AND revoked_at IS NULL FOR UPDATE")
        guard let row = found.first else { throw AgentError.noSuchAgent }
        guard try row.get("awaits_approval") else { throw AgentError.isNoCandidate }
    }

    private func move(
        _ id: ID<Agent>, _ action: String, _ event: AgentEventType, because reason: String? = nil, by actor: AuditActor, _ change: () -> SQL
    ) throws -> AgentObject {
        try transaction {
            let before = try lockedAgent(id, for: actor)
            guard before.status != .revoked else { throw AgentError.isRevoked }
            try query(change())
            let after = try AgentObject(
                query("SELECT \(trusted: AgentObject.columns) FROM agents WHERE project_id = \(project) AND id = \(id)")[0])
            try finish(action, event, before, after, because: reason, by: actor)
            return after
        }
    }

    private func lockedAgent(_ id: ID<Agent>, for actor: AuditActor) throws -> AgentObject {
        try requireManager(actor)
        let rows = try query(
            """
            SELECT \(trusted: AgentObject.columns) FROM agents
            WHERE project_id = \(project) AND id = \(id) AND revoked_at IS NULL FOR UPDATE
            """)
        guard let row = rows.first else { throw AgentError.noSuchAgent }
        return try AgentObject(row)
    }

    private func finish(
        _ action: String, _ event: AgentEventType, _ before: AgentObject, _ after: AgentObject?, because reason: String? = nil,
        by actor: AuditActor
    ) throws {
        try note(event, of: after ?? before, because: reason, by: actor)
        try audit(AuditEntry(action: action, target: ("agent", before.id.description), before: before, after: after), by: actor)
    }
}
