import Crypto
import Foundation
import Mesh
import OpenAI
import Postgres
import Tenancy

/// What an agent said of itself when it came, and in its last heartbeat.
public struct AgentReport: Sendable, Equatable {
    public var inFlight: Int
    public var models: [ModelReport]
    /// Empty = it does not say.
    public var accelerators: [Accelerator]

    public init(inFlight: Int, models: [ModelReport], accelerators: [Accelerator]) {
        self.inFlight = inFlight
        self.models = models
        self.accelerators = accelerators
    }
}

/// What the mesh asks about agents of all projects, and tells of them.
extension SystemDatabase {
    /// Seconds for which the key before a rotation is good (05 §12).
    private static let rotationGrace = 60.0

    /// Who the holder of this CURVE key (Z85) is; nil where there is no such agent, or it may not come in. For a minute after a rotation it has two.
    public func agentStanding(ofCurveKey key: String) throws -> AgentStanding? {
        try withConnection {
            try $0.query(
                """
                SELECT \(trusted: AgentStanding.columns) FROM agents
                WHERE \(trusted: AgentObject.mayComeIn)
                    AND (curve_public_key = \(key) OR (previous_curve_key = \(key) AND previous_curve_key_until > now()))
                """
            ).first.map(AgentStanding.init)
        }
    }

    /// How these agents stand, the removed ones among them too.
    public func agentStandings(of agents: [String]) throws -> [AgentStanding] {
        try withConnection {
            try $0.query("SELECT \(trusted: AgentStanding.columns) FROM agents WHERE id = ANY (\(agents)::text[])").map(AgentStanding.init)
        }
    }

    /// These agents are there, as of now. Identifiers that are none are passed over.
    /// - Parameters:
    ///   - reports: what some of them said; nil = nothing new.
    ///   - leaseSeconds: for which they may count on their work.
    public func noteHeartbeats(of agents: [String: AgentReport?], leaseSeconds: Double) throws {
        try transaction { connection in
            let ids = agents.keys.sorted()
            // Several routers do this at once: in one order.
            try connection.query("SELECT 1 FROM agents WHERE id = ANY (\(ids)::text[]) ORDER BY id FOR UPDATE")
            let came = try connection.query(
                """
                UPDATE agents SET last_heartbeat_at = now(), is_online = true
                WHERE id = ANY (\(ids)::text[]) AND NOT is_online AND \(trusted: AgentObject.mayComeIn) RETURNING \(trusted: AgentObject.columns)
                """
            ).map(AgentObject.init)
            for agent in came { try connection.note(.online, of: agent) }
            try connection.query(
                """
                UPDATE agents SET last_heartbeat_at = now(), lease_until = now() + make_interval(secs => \(leaseSeconds))
                WHERE id = ANY (\(ids)::text[])
                """)
            for (agent, report) in agents {
                guard let report else { continue }
                let models = String(decoding: try JSONEncoder().encode(report.models), as: UTF8.self)
                let accelerators = String(decoding: try JSONEncoder().encode(report.accelerators), as: UTF8.self)
                try connection.query(
                    """
                    UPDATE agents SET in_flight = \(report.inFlight), models = \(models)::jsonb,
                        accelerators = coalesce(nullif(\(accelerators)::jsonb, '[]'), accelerators)
                    WHERE id = \(agent)
                    """)
            }
        }
    }

    /// These agents said goodbye; a drain of theirs is over.
    public func noteGoodbyes(of agents: [String]) throws {
        try transaction { connection in
            let left = try connection.query(
                """
                UPDATE agents SET is_online = false, in_flight = 0, drain_until = NULL
                WHERE is_online AND id = ANY (\(agents)::text[]) RETURNING \(trusted: AgentObject.columns)
                """)
            for row in left { try connection.note(.offline, of: AgentObject(row), because: "shutdown") }
        }
    }

    /// Finds those that nobody has heard of for their whole lease. Of several routers that look, one finds each.
    public func noteSilence() throws {
        try transaction { connection in
            let silent = try connection.query(
                """
                UPDATE agents SET is_online = false, in_flight = 0
                WHERE is_online AND lease_until < now() RETURNING \(trusted: AgentObject.columns)
                """)
            for row in silent { try connection.note(.offline, of: AgentObject(row), because: "lease expired") }
        }
    }

    /// The agent's answer to a rotation: from now on its key is the new one, and for a minute the old one too.
    /// - Returns: false where it was not asked for, or where the signature is not the agent's; nothing has changed then.
    public func rotateCurveKey(of agent: String, to key: String, signature: [UInt8]) throws -> Bool {
        try transaction { connection in
            let found = try connection.query(
                """
                SELECT project_id, signing_public_key, rotation_nonce FROM agents
                WHERE id = \(agent) AND rotation_nonce IS NOT NULL AND \(trusted: AgentObject.mayComeIn) FOR UPDATE
                """)
            guard let row = found.first, let nonce = try row.optional("rotation_nonce", as: [UInt8].self),
                Ed25519.isSigned(nonce + Array(key.utf8), signature, by: try row.get("signing_public_key")),
                try connection.query("SELECT 1 FROM agents WHERE curve_public_key = \(key)").isEmpty
            else { return false }
            let rows = try connection.query(
                """
                UPDATE agents SET previous_curve_key = curve_public_key,
                    previous_curve_key_until = now() + make_interval(secs => \(Self.rotationGrace)), curve_public_key = \(key),
                    rotation_nonce = NULL, rotation_reason = NULL
                WHERE id = \(agent) RETURNING \(trusted: AgentObject.columns)
                """)
            try connection.note(.rotated, of: AgentObject(rows[0]))
            return true
        }
    }
}
