import Accounts
import Foundation
import OpenAI
import Postgres
import Server
import Tenancy

/// A policy, and the number of policies that its endpoint has had.
public struct StoredCORSPolicy: Sendable {
    public var policy: CORSPolicy
    public var generation: Int64
    var endpoint: (id: ID<Endpoint>, slug: String)
}

extension TenantConnection {
    /// - Parameters:
    ///   - name: of the endpoint, its id or slug.
    ///   - pin: the only endpoint that who asks may use.
    public func corsPolicy(of name: String, pin: String? = nil) throws -> StoredCORSPolicy { try storedPolicy(of: name, pin: pin) }

    /// Replaces all of the policy. Each time is another generation, of the policy and of the endpoint.
    /// - Parameter condition: 412 where the present generation is not among these.
    public func setCORSPolicy(
        _ policy: CORSPolicy, of name: String, pin: String? = nil, if condition: EntityTags? = nil, by actor: AuditActor
    ) throws -> StoredCORSPolicy {
        try transaction {
            try requireManager(actor)
            var stored = try storedPolicy(of: name, pin: pin, locked: true)
            let before = stored
            let id = stored.endpoint.id
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
            stored.policy = policy
            stored.generation = try row.get("cors_generation")
            return stored
        }
    }

    private func storedPolicy(of name: String, pin: String?, locked: Bool = false) throws -> StoredCORSPolicy {
        let rows = try query(
            """
            SELECT id, slug, cors, cors_generation FROM endpoints
            WHERE project_id = \(project) AND (id = \(name) OR slug = \(name)) AND deleted_at IS NULL AND status <> 'deleted'
            \(trusted: locked ? "FOR UPDATE" : "")
            """)
        guard let row = rows.first else { throw CatalogError.endpointNotFound }
        let slug: String = try row.get("slug")
        if let pin, pin != slug { throw APIError(.endpointMismatch, "The API key is pinned to another endpoint.") }
        return StoredCORSPolicy(
            policy: try row.corsPolicy() ?? .standard, generation: try row.get("cors_generation"), endpoint: (try row.get("id"), slug))
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
