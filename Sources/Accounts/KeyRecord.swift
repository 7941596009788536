import Crypto
import OpenAI
import Postgres
import Server
import Tenancy

/// What is known of a key, as of one moment of the database's clock.
struct KeyRecord: Sendable, Equatable {
    enum Standing: Equatable { case valid, revoked, expired }

    var principal: Principal
    var standing: Standing
}

extension SystemConnection {
    /// The key whose present or previous value has this digest. Whether it has expired is decided by Postgres' clock.
    func key(digest: SHA256Digest) throws -> KeyRecord? {
        let bytes = digest.bytes
        let rows = try query(
            """
            SELECT k.id, k.project_id, p.slug, k.scopes, k.endpoint, k.created_by, k.ip_filter, k.quota, k.key_hash,
                k.previous_key_hash, p.budget_generation,
                k.is_active AND p.status = 'active' AS is_active,
                COALESCE(k.expires_at <= now(), false) AS is_expired,
                COALESCE(k.grace_expires_at <= now(), true) AS is_past_grace
            FROM api_keys k JOIN projects p ON p.id = k.project_id
            WHERE k.key_hash = \(bytes) OR k.previous_key_hash = \(bytes)
            """)
        guard let row = rows.first else { return nil }
        let isCurrent = ConstantTime.areEqual(try row.get("key_hash"), bytes)
        let isPrevious = try !isCurrent && ConstantTime.areEqual(row.optional("previous_key_hash") ?? [], bytes)
        guard isCurrent || isPrevious else { return nil }
        let isPastGrace = try isPrevious && row.get("is_past_grace")
        let standing: KeyRecord.Standing =
            if try !row.get("is_active", as: Bool.self) { .revoked } else if try isPastGrace || row.get("is_expired") { .expired } else {
                .valid
            }
        return KeyRecord(principal: try row.principal(), standing: standing)
    }

    /// Notes the use of keys, unless that was noted within the last minute.
    func touch(keys: [ID<APIKey>]) throws {
        try query(
            """
            UPDATE api_keys SET last_used_at = now()
            WHERE id = ANY(\(keys.map(\.description))) AND (last_used_at IS NULL OR last_used_at < now() - interval '60 seconds')
            """)
    }

    /// The project of a key.
    public func project(of key: ID<APIKey>) throws -> ID<Project>? {
        try query("SELECT project_id FROM api_keys WHERE id = \(key)").first?.get("project_id")
    }

    /// The project with this id or slug.
    func project(named name: String) throws -> ID<Project>? {
        try query("SELECT id FROM projects WHERE (id = \(name) OR slug = \(name)) AND status = 'active'").first?.get("id")
    }
}

extension Row {
    fileprivate func principal() throws -> Principal {
        Principal(
            projectID: try get("project_id"), projectSlug: try get("slug"), keyID: try get("id"), userID: try optional("created_by"),
            scopes: Set(try texts("scopes").compactMap(Scope.init(rawValue:))), endpointPin: try optional("endpoint"),
            restrictions: KeyRestrictions(ipFilter: try json("ip_filter", as: IPFilterRules.self)?.filter, quota: try json("quota")),
            budgetGeneration: try get("budget_generation"))
    }
}
