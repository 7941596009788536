import Foundation
import Mesh
import OpenAI
import Postgres
import Server

/// An agent as it is shown (05 §21).
public struct AgentObject: Sendable, Encodable, Equatable, Identifiable {
    /// `revoked`: its credentials are, and it has to enrol again. `dead`: not heard of for a day.
    public enum Status: String, Sendable, Encodable, CaseIterable {
        case pending, active, suspended, draining, disconnected, dead, revoked
    }

    public var id: ID<Agent>
    /// nil = it is the operator's, and serves all projects of its tiers.
    public var projectID: OpenAI.ID<Project>?
    public var name: String
    /// What answers and messages of the mesh call it: the region that it was enrolled in, and its id.
    public var workerID: String
    public var role: AgentRole
    public var region: String
    public var status: Status
    public var description: String?
    public var version: String
    /// 0 = as many as its engine has places.
    public var maxConcurrent: Int
    public var supportedTiers: [String]?
    /// Those, or what it is good for without a list of its own.
    package var servedTiers: [String]
    package var awaitsApproval: Bool
    public var storageLimitEnabled: Bool
    public var storageLimitBytes: Int?
    public var accelerators: [Accelerator]
    /// As the mesh was told last.
    public var models: [ModelReport]
    public var inFlight: Int
    public var createdAt: Int
    public var lastHeartbeatAt: Int?
    public var leaseUntil: Int?

    /// Seconds without a heartbeat after which it counts as gone (05 §13).
    static let silence = 30

    private enum CodingKeys: String, CodingKey {
        case id, object, name, role, region, status, description, version, accelerators, models
        case workerID = "worker_id"
        case maxConcurrent = "max_concurrent_requests"
        case supportedTiers = "supported_tiers"
        case storageLimitEnabled = "storage_limit_enabled"
        case storageLimitBytes = "storage_limit_bytes"
        case inFlight = "in_flight"
        case createdAt = "created_at"
        case lastHeartbeatAt = "last_heartbeat_at"
        case leaseUntil = "lease_until"
    }

    /// Absent values are null.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode("agent", forKey: .object)
        try container.encode(name, forKey: .name)
        try container.encode(workerID, forKey: .workerID)
        try container.encode(role, forKey: .role)
        try container.encode(region, forKey: .region)
        try container.encode(status, forKey: .status)
        try container.encode(description, forKey: .description)
        try container.encode(version, forKey: .version)
        try container.encode(maxConcurrent, forKey: .maxConcurrent)
        try container.encode(supportedTiers, forKey: .supportedTiers)
        try container.encode(storageLimitEnabled, forKey: .storageLimitEnabled)
        try container.encode(storageLimitBytes, forKey: .storageLimitBytes)
        try container.encode(accelerators, forKey: .accelerators)
        try container.encode(models, forKey: .models)
        try container.encode(inFlight, forKey: .inFlight)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(lastHeartbeatAt, forKey: .lastHeartbeatAt)
        try container.encode(leaseUntil, forKey: .leaseUntil)
    }

    static let isConnected = "is_online AND last_heartbeat_at > now() - interval '\(silence) seconds'"
    /// Whether its key and its token are good.
    static let mayComeIn = "revoked_at IS NULL AND credentials_revoked_at IS NULL"
    static let status = """
        CASE WHEN credentials_revoked_at IS NOT NULL THEN 'revoked'
            WHEN awaits_approval THEN 'pending' WHEN suspended_at IS NOT NULL THEN 'suspended'
            WHEN last_heartbeat_at IS NULL THEN 'pending'
            WHEN last_heartbeat_at <= now() - interval '1 day' THEN 'dead'
            WHEN NOT (\(isConnected)) THEN 'disconnected'
            WHEN drain_until > now() THEN 'draining' ELSE 'active' END
        """
    static let columns = """
        id, project_id, name, worker_id, role, region, agent_version, description, max_concurrent_requests, supported_tiers, served_tiers, awaits_approval,
        storage_limit_enabled,
        storage_limit_bytes, accelerators, \(status) AS status, CASE WHEN \(isConnected) THEN models ELSE '[]' END AS models,
        CASE WHEN \(isConnected) THEN in_flight ELSE 0 END AS in_flight, extract(epoch FROM created_at)::bigint AS created_at,
        extract(epoch FROM last_heartbeat_at)::bigint AS last_heartbeat_at, extract(epoch FROM lease_until)::bigint AS lease_until
        """

    init(_ row: Row) throws {
        id = try row.get("id")
        projectID = try row.optional("project_id")
        name = try row.get("name")
        workerID = try row.get("worker_id")
        // Checks of the table allow no other values.
        role = AgentRole(rawValue: try row.get("role")) ?? .inference
        region = try row.get("region")
        status = Status(rawValue: try row.get("status")) ?? .pending
        description = try row.optional("description")
        version = try row.get("agent_version")
        maxConcurrent = try row.get("max_concurrent_requests")
        supportedTiers = try row.optional("supported_tiers", as: String.self) == nil ? nil : row.texts("supported_tiers")
        servedTiers = try row.texts("served_tiers")
        awaitsApproval = try row.get("awaits_approval")
        storageLimitEnabled = try row.get("storage_limit_enabled")
        storageLimitBytes = try row.optional("storage_limit_bytes")
        accelerators = try JSONDecoder().decode([Accelerator].self, from: Data((row.get("accelerators") as String).utf8))
        models = try JSONDecoder().decode([ModelReport].self, from: Data((row.get("models") as String).utf8))
        inFlight = try row.get("in_flight")
        createdAt = try row.get("created_at")
        lastHeartbeatAt = try row.optional("last_heartbeat_at")
        leaseUntil = try row.optional("lease_until")
    }
}
