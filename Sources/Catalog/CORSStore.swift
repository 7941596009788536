import Foundation
import OpenAI
import Postgres
import Server
import Tenancy

/// A policy, and the number of policies that its endpoint has had.
public struct StoredCORSPolicy: Sendable, Equatable {
    public var policy: CORSPolicy
    public var generation: Int64
}

extension TenantConnection {
    /// - Parameter name: of the endpoint, its id or slug.
    public func corsPolicy(of name: String) throws -> StoredCORSPolicy { try storedPolicy(of: name).policy }

    /// Replaces all of the policy. Each time is another generation, of the policy and of the endpoint.
    /// - Parameter condition: 412 where the present generation is not among these.
    public func setCORSPolicy(
        _ policy: CORSPolicy, of name: String, if condition: EntityTags? = nil, by actor: AuditActor
    ) throws -> StoredCORSPolicy {
        try transaction {
            let (id, before) = try storedPolicy(of: name, locked: true)
            if let condition, !condition.match(before.generation) {
                throw APIError(.versionConflict, "The policy has changed since it was read.")
            }
            let row = try query(
                """
                UPDATE endpoints SET cors = \(try policy.json)::jsonb, cors_generation = cors_generation + 1, generation = generation + 1,
                    updated_at = now()
                WHERE project_id = \(project) AND id = \(id) RETURNING cors_generation
                """)[0]
            try audit(
                AuditEntry(action: "endpoint.cors", target: ("endpoint", id.description), before: before.policy, after: policy), by: actor)
            return StoredCORSPolicy(policy: policy, generation: try row.get("cors_generation"))
        }
    }

    private func storedPolicy(of name: String, locked: Bool = false) throws -> (id: ID<Endpoint>, policy: StoredCORSPolicy) {
        let rows = try query(
            """
            SELECT id, cors, cors_generation FROM endpoints
            WHERE project_id = \(project) AND (id = \(name) OR slug = \(name)) AND deleted_at IS NULL AND status <> 'deleted'
            \(trusted: locked ? "FOR UPDATE" : "")
            """)
        guard let row = rows.first else { throw CatalogError.endpointNotFound }
        return (try row.get("id"), StoredCORSPolicy(policy: try row.corsPolicy() ?? .standard, generation: try row.get("cors_generation")))
    }
}

extension CORSPolicy {
    /// As the column holds it.
    var json: String {
        get throws { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }
    }
}

extension Row {
    /// nil = the default.
    func corsPolicy() throws -> CORSPolicy? {
        guard let json = try optional("cors", as: [UInt8].self) else { return nil }
        do {
            return try JSONDecoder().decode(CORSPolicy.self, from: Data(json))
        } catch let error as DecodingError {
            throw PostgresError.column("cors", problem: "is not a policy: \(error)")
        }
    }
}
