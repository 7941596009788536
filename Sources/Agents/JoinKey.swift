import OpenAI
import Postgres
import Server

/// What an agent is for.
public enum AgentRole: String, Sendable, CaseIterable, Codable { case inference, execution }

/// What a new join key shall be, and what the agent that it enrols will have.
public struct NewJoinKey: Sendable, Equatable {
    public static let expirySeconds = 300...2_592_000
    public static let expiryHours = 1...720
    public static let regionLength = 1...24
    public static let concurrency = 0...4_096

    public var name: String?
    public var role = AgentRole.inference
    /// nil = the region of the deployment.
    public var region: String?
    /// nil = what the agent's accelerators are good for.
    public var supportedTiers: [String]?
    /// Of the mesh that the agent shall connect to; nil = the deployment's own.
    public var routerAddress: String?
    /// 0 = as many as the agent's engine has places.
    public var maxConcurrent = 0
    /// Seconds.
    public var lifetime = 86_400

    public init() {}
}

/// A join key as it is shown (05 §21): everything but its value, which is in the answer that makes it and nowhere else.
public struct JoinKeyObject: Sendable, Encodable, Equatable, Identifiable {
    public enum State: String, Sendable, Encodable, CaseIterable { case active, consumed, expired, revoked }

    public var id: ID<JoinKey>
    public var name: String?
    /// The first characters, to recognise the key by.
    public var prefix: String
    public var role: AgentRole
    public var region: String?
    public var supportedTiers: [String]?
    public var routerAddress: String?
    public var maxConcurrent: Int
    public var state: State
    /// The user it was made by; nil = the operator.
    public var createdBy: String?
    public var createdAt: Int
    public var expiresAt: Int
    public var consumedAt: Int?
    public var revokedAt: Int?
    /// The agent that it enrolled.
    public var agentID: String?
    /// The whole key, where it was made just now.
    public var key: String?

    private enum CodingKeys: String, CodingKey {
        case id, object, name, prefix, role, region, state, key
        case supportedTiers = "supported_tiers"
        case routerAddress = "router_addr"
        case maxConcurrent = "max_concurrent_requests"
        case createdBy = "created_by"
        case createdAt = "created_at"
        case expiresAt = "expires_at"
        case consumedAt = "consumed_at"
        case revokedAt = "revoked_at"
        case agentID = "agent_id"
    }

    /// Absent values are null; only `key` is left out.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode("join_key", forKey: .object)
        try container.encode(name, forKey: .name)
        try container.encode(prefix, forKey: .prefix)
        try container.encode(role, forKey: .role)
        try container.encode(region, forKey: .region)
        try container.encode(supportedTiers, forKey: .supportedTiers)
        try container.encode(routerAddress, forKey: .routerAddress)
        try container.encode(maxConcurrent, forKey: .maxConcurrent)
        try container.encode(state, forKey: .state)
        try container.encode(createdBy, forKey: .createdBy)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(expiresAt, forKey: .expiresAt)
        try container.encode(consumedAt, forKey: .consumedAt)
        try container.encode(revokedAt, forKey: .revokedAt)
        try container.encode(agentID, forKey: .agentID)
        try container.encodeIfPresent(key, forKey: .key)
    }

    static let columns = """
        id, name, prefix, role, region, supported_tiers, router_addr, max_concurrent_requests, created_by, agent_id,
        CASE WHEN consumed_at IS NOT NULL THEN 'consumed' WHEN revoked_at IS NOT NULL THEN 'revoked'
            WHEN expires_at <= now() THEN 'expired' ELSE 'active' END AS state,
        extract(epoch FROM created_at)::bigint AS created_at, extract(epoch FROM expires_at)::bigint AS expires_at,
        extract(epoch FROM consumed_at)::bigint AS consumed_at, extract(epoch FROM revoked_at)::bigint AS revoked_at
        """

    init(_ row: Row) throws {
        id = try row.get("id")
        name = try row.optional("name")
        prefix = try row.get("prefix")
        // Checks of the table allow no other values.
        role = AgentRole(rawValue: try row.get("role")) ?? .inference
        region = try row.optional("region")
        supportedTiers = try row.optional("supported_tiers", as: String.self) == nil ? nil : row.texts("supported_tiers")
        routerAddress = try row.optional("router_addr")
        maxConcurrent = try row.get("max_concurrent_requests")
        state = State(rawValue: try row.get("state")) ?? .expired
        createdBy = try row.optional("created_by")
        createdAt = try row.get("created_at")
        expiresAt = try row.get("expires_at")
        consumedAt = try row.optional("consumed_at")
        revokedAt = try row.optional("revoked_at")
        agentID = try row.optional("agent_id")
    }
}

/// The `data` of `join_key.created` and `join_key.consumed` (08 §11). What is absent is null.
struct JoinKeyEventData: Encodable {
    var id: ID<JoinKey>
    var name: String?
    var region: String?
    var role: AgentRole
    var agentID: String?
    var expiresAt: Int

    init(_ key: JoinKeyObject) {
        id = key.id
        name = key.name
        region = key.region
        role = key.role
        agentID = key.agentID
        expiresAt = key.expiresAt
    }

    private enum CodingKeys: String, CodingKey {
        case name, region, role
        case id = "join_key_id"
        case agentID = "agent_id"
        case expiresAt = "expires_at"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(name, forKey: .name)
        try container.encode(region, forKey: .region)
        try container.encode(role, forKey: .role)
        try container.encode(agentID, forKey: .agentID)
        try container.encode(expiresAt, forKey: .expiresAt)
    }
}

enum JoinKeyError: APIErrorConvertible, Equatable {
    case noSuchKey
    case tooMany
    /// It is consumed, revoked or expired already.
    case over(JoinKeyObject.State)
    case noSuchTier(String)

    /// Keys of a project that can be used at one time.
    static let mostLive = 100

    var apiError: APIError {
        switch self {
        case .noSuchKey: APIError(.joinKeyNotFound, "There is no such join key.")
        case .tooMany:
            APIError(.quotaExceeded, "A project has at most \(Self.mostLive) join keys that are not used up or over.", strategy: .quota)
        case .over(let state): APIError(.conflict, "The join key is \(state.rawValue) already.")
        case .noSuchTier(let slug): .invalid("supported_tiers", "There is no service tier '\(slug.prefix(64))'.")
        }
    }
}
