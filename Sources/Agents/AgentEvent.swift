import Jobs
import OpenAI
import Postgres
import Server
import Tenancy

/// Something that happened to an agent; its history is `agent_events`.
public enum AgentEventType: String, Sendable, CaseIterable {
    case enrolled = "agent.enrolled"
    case online = "agent.online"
    case offline = "agent.offline"
    case updated = "agent.updated"
    case suspended = "agent.suspended"
    case activated = "agent.activated"
    case draining = "agent.draining"
    case credentialsRevoked = "agent.credentials_revoked"
    case rotationRequested = "agent.curve_rotation_requested"
    case rotated = "agent.curve_rotated"
    case removed = "agent.removed"
    case approved = "agent.approved"
    case rejected = "agent.rejected"

    /// What webhooks are told of (08 §11).
    fileprivate var webhook: EventType? {
        switch self {
        case .enrolled: .agentEnrolled
        case .online: .agentOnline
        case .offline: .agentOffline
        default: nil
        }
    }
}

/// An entry of an agent's history as it is shown.
public struct AgentEventObject: Sendable, Encodable, Equatable, Identifiable {
    public var id: ID<AgentEvent>
    public var agentID: String
    public var type: String
    public var reason: String?
    /// The user who did it; nil = the operator, the agent or the mesh.
    public var actorID: String?
    public var createdAt: Int

    private enum CodingKeys: String, CodingKey {
        case id, object, type, reason
        case agentID = "agent_id"
        case actorID = "actor_id"
        case createdAt = "created_at"
    }

    /// Absent values are null.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode("agent.event", forKey: .object)
        try container.encode(agentID, forKey: .agentID)
        try container.encode(type, forKey: .type)
        try container.encode(reason, forKey: .reason)
        try container.encode(actorID, forKey: .actorID)
        try container.encode(createdAt, forKey: .createdAt)
    }

    static let columns = "id, agent_id, type, reason, actor_id, extract(epoch FROM created_at)::bigint AS created_at"

    init(_ row: Row) throws {
        id = try row.get("id")
        agentID = try row.get("agent_id")
        type = try row.get("type")
        reason = try row.optional("reason")
        actorID = try row.optional("actor_id")
        createdAt = try row.get("created_at")
    }
}

/// The `data` of `agent.enrolled`, `agent.online` and `agent.offline` (08 §11). What is absent is null.
struct AgentEventData: Encodable {
    let agent: AgentObject
    let reason: String?

    private enum CodingKeys: String, CodingKey {
        case name, role, region, state, accelerator, reason
        case agentID = "agent_id"
        case workerID = "worker_id"
        case lastSeenAt = "last_seen_at"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(agent.id, forKey: .agentID)
        try container.encode(agent.workerID, forKey: .workerID)
        try container.encode(agent.name, forKey: .name)
        try container.encode(agent.role, forKey: .role)
        try container.encode(agent.region, forKey: .region)
        try container.encode(agent.status, forKey: .state)
        try container.encode(agent.accelerators.first?.name, forKey: .accelerator)
        try container.encode(agent.lastHeartbeatAt, forKey: .lastSeenAt)
        try container.encode(reason, forKey: .reason)
    }
}

/// Writes what happened into an agent's history and, where webhooks may be told, into the outbox. It belongs into the transaction of what happened.
extension TenantConnection {
    func note(_ type: AgentEventType, of agent: AgentObject, because reason: String? = nil, by actor: AuditActor) throws {
        try query(type.statement(of: agent, in: project, because: reason, by: actor.userID))
        if let webhook = type.webhook { try emit(Event(webhook, AgentEventData(agent: agent, reason: reason))) }
    }
}

extension SystemConnection {
    func note(_ type: AgentEventType, of agent: AgentObject, because reason: String? = nil) throws {
        try query(type.statement(of: agent, in: agent.projectID, because: reason, by: nil))
        // Of the operator's agents no project is told.
        if let webhook = type.webhook, let project = agent.projectID {
            try emit(Event(webhook, AgentEventData(agent: agent, reason: reason)), of: project)
        }
        // An agent that comes and goes would otherwise fill the table.
        if type == .online {
            try query("DELETE FROM agent_events WHERE agent_id = \(agent.id) AND created_at < now() - interval '90 days'")
        }
    }
}

extension AgentEventType {
    fileprivate func statement(of agent: AgentObject, in project: ID<Project>?, because reason: String?, by user: String?) -> SQL {
        """
        INSERT INTO agent_events (id, project_id, agent_id, type, reason, actor_id)
        VALUES (\(ID<AgentEvent>.random()), \(project), \(agent.id), \(rawValue), \(reason), \(user))
        """
    }
}
