import OpenAI
import Postgres
import Server
import Tenancy

/// A key as it is shown: everything but its value (08 §2.3).
public struct KeyListing: Sendable, Encodable, Equatable {
    public var id: ID<APIKey>
    public var object = "api_key"
    public var name: String
    public var prefix: String
    public var scopes: [String]
    public var endpoint: String?
    public var active: Bool
    public var createdAt: Int
    public var lastUsedAt: Int?
    public var expiresAt: Int?
    public var graceExpiresAt: Int?
    /// Only in the answer to its creation.
    public var key: String?

    private enum CodingKeys: String, CodingKey {
        case id, object, name, prefix, scopes, endpoint, active, key
        case createdAt = "created_at"
        case lastUsedAt = "last_used_at"
        case expiresAt = "expires_at"
        case graceExpiresAt = "grace_expires_at"
    }
}

/// What a new key shall be.
public struct NewKey: Sendable {
    public var name: String
    public var scopes: [String]
    /// The slug of the only endpoint it may use.
    public var endpoint: String?
    /// Unix time; nil = never.
    public var expiresAt: Int?

    public init(name: String, scopes: [String], endpoint: String? = nil, expiresAt: Int? = nil) {
        self.name = name
        self.scopes = scopes
        self.endpoint = endpoint
        self.expiresAt = expiresAt
    }
}

extension TenantConnection {
    /// Makes a key and stores its digest; its value is only in the answer.
    public func createKey(_ new: NewKey) throws -> KeyListing {
        guard (1...64).contains(new.name.count) else { throw APIError.invalid("name", "A key's name has 1 to 64 characters.") }
        let scopes = try Scope.read(new.scopes)
        return try transaction {
            let projectSlug = try activeProjectSlug()
            if let endpoint = new.endpoint { try requireEndpoint(endpoint) }
            guard let key = KeyText.random(projectSlug: projectSlug) else {
                throw APIError.invalid("project", "The slug '\(projectSlug)' cannot be part of a key.")
            }
            let rows = try query(
                """
                INSERT INTO api_keys (id, project_id, name, prefix, key_hash, scopes, endpoint, expires_at)
                SELECT \(ID<APIKey>.random()), \(project), \(new.name), \(key.shownPrefix), \(key.digest.bytes), \(scopes.map(\.rawValue)),
                    \(new.endpoint), expiry FROM (SELECT to_timestamp(\(new.expiresAt)::bigint) AS expiry) AS given
                WHERE expiry IS NULL OR expiry > now()
                RETURNING \(trusted: KeyListing.columns)
                """)
            guard let row = rows.first else { throw APIError.invalid("expires_at", "The expiry is in the past.") }
            var listing = try row.keyListing()
            listing.key = key.value
            return listing
        }
    }

    /// Ends a key for good; doing it again changes nothing. nil = there is no such key.
    public func revokeKey(_ id: ID<APIKey>) throws -> KeyListing? {
        try query(
            """
            UPDATE api_keys SET is_active = false, revoked_at = COALESCE(revoked_at, now()), updated_at = now()
            WHERE id = \(id) AND project_id = \(project) RETURNING \(trusted: KeyListing.columns)
            """
        ).first?.keyListing()
    }

    /// The keys of a project, the newest first.
    public func keys() throws -> [KeyListing] {
        try query(
            "SELECT \(trusted: KeyListing.columns) FROM api_keys WHERE project_id = \(project) ORDER BY api_keys.created_at DESC, id DESC"
        ).map { try $0.keyListing() }
    }

    private func activeProjectSlug() throws -> String {
        guard let row = try query("SELECT slug FROM projects WHERE id = \(project) AND status = 'active'").first else {
            throw APIError(.projectNotFound, "The project does not exist.", param: "project")
        }
        return try row.get("slug")
    }

    private func requireEndpoint(_ slug: String) throws {
        let rows = try query("SELECT 1 FROM endpoints WHERE project_id = \(project) AND slug = \(slug) AND deleted_at IS NULL")
        guard !rows.isEmpty else { throw APIError(.endpointNotFound, "There is no endpoint '\(slug)'.", param: "endpoint") }
    }
}

extension KeyListing {
    fileprivate static let columns = """
        id, name, prefix, scopes, endpoint, is_active, extract(epoch FROM created_at)::bigint AS created_at,
        extract(epoch FROM last_used_at)::bigint AS last_used_at, extract(epoch FROM expires_at)::bigint AS expires_at,
        extract(epoch FROM grace_expires_at)::bigint AS grace_expires_at
        """
}

extension Row {
    fileprivate func keyListing() throws -> KeyListing {
        KeyListing(
            id: try get("id"), name: try get("name"), prefix: try get("prefix"), scopes: try texts("scopes"),
            endpoint: try optional("endpoint"),
            active: try get("is_active"), createdAt: try get("created_at"), lastUsedAt: try optional("last_used_at"),
            expiresAt: try optional("expires_at"), graceExpiresAt: try optional("grace_expires_at"))
    }
}

extension Scope {
    /// Reads the names of scopes; the older, finer ones are read as `inference`.
    static func read(_ names: [String]) throws -> [Scope] {
        let scopes = try names.map { name -> Scope in
            if ["chat", "models", "embeddings", "responses"].contains(name) { return .inference }
            guard let scope = Scope(rawValue: name) else {
                throw APIError(.invalidScope, "'\(name)' is not a scope: inference, management or execution.", param: "scopes")
            }
            return scope
        }
        guard !scopes.isEmpty else { throw APIError(.invalidScope, "A key has at least one scope.", param: "scopes") }
        return Scope.allCases.filter(scopes.contains)
    }
}
