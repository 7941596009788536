import OpenAI
import Postgres
import Server

/// What the router must know of an agent: whose it is, what for, and how it stands with the managers of its project.
public struct AgentStanding: Sendable, Equatable {
    public enum State: String, Sendable {
        case active
        /// It gets nothing new; what runs goes on. So it is with one that waits for its approval, on which nothing runs.
        case suspended
        /// It gets nothing new, and ends when what runs is done or `drainSeconds` are over.
        case draining
        /// It is removed: as `draining`, but at the end it is told that it is an agent no more.
        case removed
        /// Its connection is cut at once.
        case revoked
    }

    /// A new CURVE key is wanted of it.
    public struct Rotation: Sendable, Equatable {
        public var nonce: [UInt8]
        public var reason: String
    }

    public var agentID: String
    /// `<region>:agt_…`, with the region of its enrolment.
    public var workerID: String
    /// nil = it is the operator's, and serves all.
    public var project: String?
    /// Where its managers say that it is.
    public var region: String
    public var tiers: [String]
    /// 0 = as many as its engine has places.
    public var maxConcurrent: Int
    public var state: State
    /// Seconds that what runs may still go on; 0 unless it is draining or removed.
    public var drainSeconds: Double
    public var rotation: Rotation?

    /// Whether it may be given work.
    public var isOpen: Bool { state == .active }

    static let columns = """
        id, worker_id, project_id, region, max_concurrent_requests, served_tiers, rotation_nonce, rotation_reason,
        CASE WHEN credentials_revoked_at IS NOT NULL THEN 'revoked' WHEN revoked_at IS NOT NULL THEN 'removed'
            WHEN drain_until > now() THEN 'draining' WHEN suspended_at IS NOT NULL OR awaits_approval THEN 'suspended' ELSE 'active' END AS state,
        greatest(0, coalesce(extract(epoch FROM drain_until - now()), 0))::double precision AS drain_seconds
        """

    init(_ row: Row) throws {
        agentID = try row.get("id")
        workerID = try row.get("worker_id")
        project = try row.optional("project_id")
        region = try row.get("region")
        tiers = try row.texts("served_tiers")
        maxConcurrent = try row.get("max_concurrent_requests")
        // The statement makes no other values.
        state = State(rawValue: try row.get("state")) ?? .revoked
        drainSeconds = try row.get("drain_seconds")
        rotation = try row.optional("rotation_nonce", as: [UInt8].self).map {
            Rotation(nonce: $0, reason: try row.optional("rotation_reason") ?? "asked for")
        }
    }
}
