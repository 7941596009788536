import Accounts
import Crypto
import OpenAI
import Postgres
import Server
import Tenancy

/// What managers do with the agents of their project; see `AgentKeeper`.
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

    public func take(_ step: AgentStep, with id: ID<Agent>, because reason: String? = nil, by actor: AuditActor) throws -> AgentObject {
        try requireManager(actor)
        return try take(step, id, because: reason, by: actor)
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

    private func lockedAgent(_ id: ID<Agent>, for actor: AuditActor) throws -> AgentObject {
        try requireManager(actor)
        return try lockedAgent(id)
    }

    private func finish(
        _ action: String, _ event: AgentEventType, _ before: AgentObject, _ after: AgentObject, because reason: String? = nil,
        by actor: AuditActor
    ) throws {
        try note(event, of: after, because: reason, by: actor)
        try audit(AuditEntry(action: action, target: ("agent", before.id.description), before: before, after: after), by: actor)
    }
}
