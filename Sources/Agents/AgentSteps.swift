import OpenAI
import Postgres
import Server

/// What is done to an agent without looking into it; the mesh looks each half second how its agents stand (`SystemDatabase.agentStandings`).
public enum AgentStep: Sendable, Equatable {
    /// It gets nothing new until it is activated; what runs goes on.
    case suspend
    /// It is neither suspended nor drained any more.
    case activate
    /// It gets nothing new, finishes what runs, and ends; after so many seconds what still runs is cut.
    case drain(seconds: Double)
    /// Its token and its key are good for nothing, and its connection is cut; under its name it can be enrolled again.
    case revokeCredentials
    /// From now on it may have work.
    case approve
    /// It is no agent any more, and can be enrolled again only with another join key.
    case reject
    /// It is shown no more, its name may be taken, and its token is good for nothing from now on. What runs may go on for so many seconds.
    case remove(drainSeconds: Double)

    fileprivate var isForCandidates: Bool { self == .approve || self == .reject }

    private var isRemoval: Bool {
        if case .remove = self { return true }
        return false
    }

    /// That what runs may go on.
    fileprivate var seconds: Double? {
        switch self {
        case .drain(let seconds), .remove(let seconds): seconds
        case .suspend, .activate, .revokeCredentials, .approve, .reject: nil
        }
    }

    fileprivate func check(_ agent: AgentObject) throws {
        if isForCandidates && !agent.awaitsApproval { throw AgentError.isNoCandidate }
        if agent.status == .revoked && !isRemoval { throw AgentError.isRevoked }
    }

    fileprivate var change: String {
        switch self {
        case .suspend: "suspended_at = coalesce(suspended_at, now())"
        case .activate: "suspended_at = NULL, drain_until = NULL"
        case .drain: "drain_until = now() + make_interval(secs => grace.seconds)"
        case .revokeCredentials: "credentials_revoked_at = now(), drain_until = NULL, rotation_nonce = NULL, rotation_reason = NULL"
        case .approve: "awaits_approval = false"
        case .reject: "revoked_at = now()"
        case .remove: "revoked_at = now(), drain_until = now() + make_interval(secs => grace.seconds)"
        }
    }

    fileprivate var event: AgentEventType {
        switch self {
        case .suspend: .suspended
        case .activate: .activated
        case .drain: .draining
        case .revokeCredentials: .credentialsRevoked
        case .approve: .approved
        case .reject: .rejected
        case .remove: .removed
        }
    }

    fileprivate var action: String {
        switch self {
        case .suspend: "agent.suspend"
        case .activate: "agent.activate"
        case .drain: "agent.drain"
        case .revokeCredentials: "agent.revoke_credentials"
        case .approve: "agent.approve"
        case .reject: "agent.reject"
        case .remove: "agent.revoke"
        }
    }

    fileprivate func entry(_ before: AgentObject, _ after: AgentObject) throws -> AuditEntry {
        try AuditEntry(action: action, target: ("agent", before.id.description), before: before, after: isRemoval ? nil : after)
    }
}

extension AgentKeeper {
    func take(_ step: AgentStep, _ id: ID<Agent>, because reason: String?, by actor: AuditActor) throws -> AgentObject {
        try transaction {
            let before = try lockedAgent(id)
            try step.check(before)
            let rows = try query(
                """
                UPDATE agents SET \(trusted: step.change) FROM (SELECT \(step.seconds)::double precision AS seconds) AS grace
                WHERE project_id IS NOT DISTINCT FROM \(owner) AND id = \(id)
                RETURNING \(trusted: AgentObject.columns)
                """)
            let after = try AgentObject(rows[0])
            try note(step.event, of: after, because: reason, by: actor)
            try log(step.entry(before, after), by: actor)
            return after
        }
    }

    func lockedAgent(_ id: ID<Agent>) throws -> AgentObject {
        let rows = try query(
            """
            SELECT \(trusted: AgentObject.columns) FROM agents
            WHERE project_id IS NOT DISTINCT FROM \(owner) AND id = \(id) AND revoked_at IS NULL FOR UPDATE
            """)
        guard let row = rows.first else { throw AgentError.noSuchAgent }
        return try AgentObject(row)
    }
}
