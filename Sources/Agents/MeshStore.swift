import OpenAI
import Postgres
import Tenancy

/// What the mesh asks about agents of all projects.
extension SystemDatabase {
    /// What the holder of this CURVE key (Z85) is called on the mesh; nil where there is no such agent, or it was revoked.
    public func workerID(ofCurveKey key: String) throws -> String? {
        try withConnection {
            try $0.query("SELECT \(trusted: AgentObject.columns) FROM agents WHERE curve_public_key = \(key) AND revoked_at IS NULL").first
                .map {
                    try AgentObject($0).workerID
                }
        }
    }

    /// These agents are there, as of now. Identifiers that are none are passed over.
    public func noteHeartbeats(of agents: [String]) throws {
        try withConnection { try $0.query("UPDATE agents SET last_heartbeat_at = now() WHERE id = ANY (\(agents)::text[])") }
    }

    public func revokedAgents(among agents: [String]) throws -> Set<String> {
        try withConnection {
            Set(
                try $0.query("SELECT id FROM agents WHERE id = ANY (\(agents)::text[]) AND revoked_at IS NOT NULL").map {
                    try $0.get("id", as: String.self)
                })
        }
    }
}
