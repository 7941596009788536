import Crypto
import Foundation
import OpenAI
import Redis
import Server
import Tenancy

/// `POST /v1/enroll` and `/v1/enroll/refresh` (05 §11), without an API key: a join key or the agent's own keys say who asks.
public struct EnrolmentRoutes: Sendable {
    private let database: SystemDatabase
    private let redis: RedisPool
    private let keys: MeshKeys
    private let addresses: [String]
    private let region: String

    /// Calls of an address in a minute.
    private static let mostCalls = 10
    /// Seconds by which the time of a signature may be off.
    private static let clockSkew = 60
    private static let leaseSeconds = 30
    private static let heartbeatMilliseconds = 10_000

    /// - Parameters:
    ///   - addresses: where agents reach the router.
    ///   - region: of agents whose join key names none.
    public init(database: SystemDatabase, redis: RedisPool, keys: MeshKeys, addresses: [String], region: String) {
        self.database = database
        self.redis = redis
        self.keys = keys
        self.addresses = addresses
        self.region = region
    }

    public var all: [Route] {
        [
            Route(.post, "enroll", .host, .open, meter: .none, bodyLimit: 64 << 10, enrol),
            Route(.post, "enroll/refresh", .host, .open, meter: .none, bodyLimit: 4 << 10, refresh),
        ]
    }

    private func enrol(_ request: Request, _ context: Context) throws -> Response {
        let address = try admit(request, context)
        let (key, new) = try RequestDocument.read(request.body, context.services.parser) {
            (try EnrolmentBodies.joinKey($0), try EnrolmentBodies.new($0))
        }
        let actor = AuditActor(
            .system, "enrolment", address: address, userAgent: request.header("HTTP_USER_AGENT"), requestID: context.requestID)
        let (agent, ownRouter) = try database.enrol(new, with: key, region: region, by: actor)
        let token = try AgentToken(of: agent.id, at: Self.now, signedWith: keys)
        return try .json(
            encoding: Enrolled(
                agentID: agent.id, workerID: agent.workerID, projectID: agent.projectID, region: agent.region,
                supportedTiers: agent.servedTiers, token: token, addresses: ownRouter.map { [$0] } ?? addresses,
                curveKey: keys.curve.publicKey.text,
                leaseSeconds: Self.leaseSeconds, heartbeatMilliseconds: Self.heartbeatMilliseconds), status: 201)
    }

    private func refresh(_ request: Request, _ context: Context) throws -> Response {
        _ = try admit(request, context)
        let given = request.header("HTTP_AUTHORIZATION") ?? ""
        guard given.hasPrefix("Bearer "),
            let agent = AgentToken.agent(of: String(given.dropFirst(7)), at: Self.now, mayBeOver: true, signedWith: keys),
            let signingKey = try database.signingKey(of: agent)
        else { throw AgentError.invalidToken }
        let (time, signature) = try RequestDocument.read(request.body, context.services.parser) { try EnrolmentBodies.refresh($0) }
        guard abs(Self.now - time) <= Self.clockSkew, Ed25519.isSigned(Array("\(agent)|\(time)".utf8), signature, by: signingKey) else {
            throw AgentError.notSigned
        }
        return try .json(encoding: Refreshed(token: AgentToken(of: agent, at: Self.now, signedWith: keys)))
    }

    /// Counts the calls of an address; guesses cost time. Without Redis nobody is kept out: a join key has 256 random bits.
    /// - Returns: the address.
    private func admit(_ request: Request, _ context: Context) throws -> String? {
        let address = request.clientAddress(behind: context.services.proxies)?.description
        let minute = Self.now / 60
        let name = "enroll:\(address ?? "unknown"):\(minute)"
        let replies = try? redis.withConnection { try $0.pipeline([["INCR", .string(name)], ["EXPIRE", .string(name), 120]]) }
        if case .integer(let calls)? = replies?.first, calls > Self.mostCalls {
            throw APIError(.rateLimitExceeded, "Too many enrolments from this address.", retryAfter: 60 - Self.now % 60)
        }
        return address
    }

    private static var now: Int { Int(Date().timeIntervalSince1970) }
}

/// The answer to an enrolment.
private struct Enrolled: Encodable {
    struct ObjectStore: Encodable { var mode = "presigned" }

    var agentID: ID<Agent>
    var workerID: String
    var projectID: ID<Project>?
    var region: String
    var supportedTiers: [String]
    var token: AgentToken
    var addresses: [String]
    var curveKey: String
    var leaseSeconds: Int
    var heartbeatMilliseconds: Int

    private enum CodingKeys: String, CodingKey {
        case region, token
        case agentID = "agent_id"
        case workerID = "worker_id"
        case projectID = "project_id"
        case supportedTiers = "supported_tiers"
        case expiresAt = "token_expires_at"
        case refreshAfter = "refresh_after"
        case addresses = "router_addrs"
        case curveKey = "router_curve_public_key"
        case leaseSeconds = "lease_seconds"
        case heartbeatMilliseconds = "heartbeat_interval_ms"
        case objectStore = "object_store"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(agentID, forKey: .agentID)
        try container.encode(workerID, forKey: .workerID)
        try container.encode(projectID, forKey: .projectID)
        try container.encode(region, forKey: .region)
        try container.encode(supportedTiers, forKey: .supportedTiers)
        try container.encode(token.text, forKey: .token)
        try container.encode(token.expiresAt, forKey: .expiresAt)
        try container.encode(token.refreshAfter, forKey: .refreshAfter)
        try container.encode(addresses, forKey: .addresses)
        try container.encode(curveKey, forKey: .curveKey)
        try container.encode(leaseSeconds, forKey: .leaseSeconds)
        try container.encode(heartbeatMilliseconds, forKey: .heartbeatMilliseconds)
        try container.encode(ObjectStore(), forKey: .objectStore)
    }
}

/// The answer to a refresh.
private struct Refreshed: Encodable {
    var token: AgentToken

    private enum CodingKeys: String, CodingKey {
        case token
        case expiresAt = "token_expires_at"
        case refreshAfter = "refresh_after"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(token.text, forKey: .token)
        try container.encode(token.expiresAt, forKey: .expiresAt)
        try container.encode(token.refreshAfter, forKey: .refreshAfter)
    }
}
