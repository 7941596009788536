import OpenAI
import Postgres
import Server
import Tenancy

/// Who a key is, as it may know itself (08 §2.3).
struct WhoAmI: Encodable {
    struct Project: Encodable {
        var id: ID<OpenAI.Project>
        var slug: String
        var name: String
    }

    struct Key: Encodable {
        var id: ID<APIKey>
        var name: String
        var prefix: String
        var scopes: [Scope]
        var endpoint: String?
        var expiresAt: Int?

        private enum CodingKeys: String, CodingKey {
            case id, name, prefix, scopes, endpoint
            case expiresAt = "expires_at"
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(id, forKey: .id)
            try container.encode(name, forKey: .name)
            try container.encode(prefix, forKey: .prefix)
            try container.encode(scopes, forKey: .scopes)
            try container.encode(endpoint, forKey: .endpoint)
            try container.encode(expiresAt, forKey: .expiresAt)
        }
    }

    var project: Project
    var key: Key
    var userID: String?

    private enum CodingKeys: String, CodingKey {
        case project, key
        case userID = "user_id"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(project, forKey: .project)
        try container.encode(key, forKey: .key)
        try container.encode(userID, forKey: .userID)
    }
}

extension TenantConnection {
    func whoami(_ principal: Principal) throws -> WhoAmI {
        let rows = try query(
            """
            SELECT p.id AS project_id, p.slug, p.name AS project_name, k.id, k.name, k.prefix, k.scopes, k.endpoint, k.created_by,
                extract(epoch FROM k.expires_at)::bigint AS expires_at
            FROM api_keys k JOIN projects p ON p.id = k.project_id
            WHERE k.project_id = \(project) AND k.id = \(principal.keyID)
            """)
        guard let row = rows.first else { throw AccountError.badKey }
        return WhoAmI(
            project: .init(id: try row.get("project_id"), slug: try row.get("slug"), name: try row.get("project_name")),
            key: .init(
                id: try row.get("id"), name: try row.get("name"), prefix: try row.get("prefix"),
                scopes: try row.texts("scopes").compactMap(Scope.init(rawValue:)), endpoint: try row.optional("endpoint"),
                expiresAt: try row.optional("expires_at")),
            userID: try row.optional("created_by"))
    }
}
