import OpenAI
import Postgres
import Server

/// What an agent says when it enrols (05 §11).
public struct NewAgent: Sendable, Equatable {
    public var role: AgentRole
    public var name: String
    public var hostname: String?
    public var version: String
    /// Z85, 40 characters.
    public var curvePublicKey: String
    /// Ed25519, 32 bytes.
    public var signingPublicKey: [UInt8]
    public var platform: Platform?
    public var accelerators: [Accelerator]
    /// 0 = as many as its engine has places.
    public var maxConcurrent: Int

    /// What it runs on.
    public struct Platform: Sendable, Equatable, Encodable {
        public var os: String?
        public var architecture: String?

        private enum CodingKeys: String, CodingKey {
            case os
            case architecture = "arch"
        }
    }

    /// A device that models run on.
    public struct Accelerator: Sendable, Equatable, Encodable {
        public var kind: String
        public var name: String
        public var memoryBytes: Int
        public var index: Int
        public var driver: String?

        private enum CodingKeys: String, CodingKey {
            case kind, name, index, driver
            case memoryBytes = "memory_bytes"
        }
    }
}

/// An agent as it is shown (05 §21).
public struct AgentObject: Sendable, Encodable, Equatable, Identifiable {
    public enum Status: String, Sendable, Encodable, CaseIterable { case pending, active, disconnected }

    public var id: ID<Agent>
    public var projectID: String
    public var name: String
    public var role: AgentRole
    public var region: String
    public var status: Status
    public var version: String
    public var maxConcurrent: Int
    public var supportedTiers: [String]?
    public var createdAt: Int
    public var lastHeartbeatAt: Int?

    /// What answers and messages of the mesh call it.
    public var workerID: String { "\(region):\(id)" }

    /// Seconds without a heartbeat after which it counts as gone (05 §13).
    static let silence = 30

    private enum CodingKeys: String, CodingKey {
        case id, object, name, role, region, status, version
        case workerID = "worker_id"
        case maxConcurrent = "max_concurrent_requests"
        case supportedTiers = "supported_tiers"
        case createdAt = "created_at"
        case lastHeartbeatAt = "last_heartbeat_at"
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
        try container.encode(version, forKey: .version)
        try container.encode(maxConcurrent, forKey: .maxConcurrent)
        try container.encode(supportedTiers, forKey: .supportedTiers)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(lastHeartbeatAt, forKey: .lastHeartbeatAt)
    }

    static let status = """
        CASE WHEN last_heartbeat_at IS NULL THEN 'pending'
            WHEN last_heartbeat_at > now() - interval '\(silence) seconds' THEN 'active' ELSE 'disconnected' END
        """
    static let columns = """
        id, project_id, name, role, region, agent_version, max_concurrent_requests, supported_tiers, \(status) AS status,
        extract(epoch FROM created_at)::bigint AS created_at, extract(epoch FROM last_heartbeat_at)::bigint AS last_heartbeat_at
        """

    init(_ row: Row) throws {
        id = try row.get("id")
        projectID = try row.get("project_id")
        name = try row.get("name")
        // Checks of the table allow no other values.
        role = AgentRole(rawValue: try row.get("role")) ?? .inference
        region = try row.get("region")
        status = Status(rawValue: try row.get("status")) ?? .pending
        version = try row.get("agent_version")
        maxConcurrent = try row.get("max_concurrent_requests")
        supportedTiers = try row.optional("supported_tiers", as: String.self) == nil ? nil : row.texts("supported_tiers")
        createdAt = try row.get("created_at")
        lastHeartbeatAt = try row.optional("last_heartbeat_at")
    }
}

enum AgentError: APIErrorConvertible, Equatable {
    case noSuchAgent
    case tooMany
    case invalidJoinKey
    case joinKeyConsumed
    case joinKeyExpired
    case otherRole(AgentRole)
    case nameTaken
    case curveKeyTaken
    case invalidToken
    case notSigned

    /// Agents of a project at one time.
    static let most = 100

    var apiError: APIError {
        switch self {
        case .noSuchAgent: APIError(.agentNotFound, "There is no such agent.")
        case .tooMany: APIError(.quotaExceeded, "A project has at most \(Self.most) agents.", strategy: .quota)
        case .invalidJoinKey: APIError(.invalidJoinKey, "The join key is not good.", param: "join_key")
        case .joinKeyConsumed: APIError(.joinKeyConsumed, "The join key has enrolled an agent already.", param: "join_key")
        case .joinKeyExpired: APIError(.joinKeyExpired, "The join key is over.", param: "join_key")
        case .otherRole(let role): .invalid("role", "The join key is for the role '\(role.rawValue)'.")
        case .nameTaken: APIError(.registrationNameTaken, "The project has an agent of this name already.", param: "name")
        case .curveKeyTaken: APIError(.conflict, "Another agent has this key already.", param: "curve_public_key")
        case .invalidToken: APIError(.invalidAgentToken, "The agent's token is not good.")
        case .notSigned:
            APIError(.invalidAgentToken, "The signature is not the agent's, or its time is off by more than a minute.", param: "sig")
        }
    }
}
