import JSON
import OpenAI
import Server
import Tenancy

/// `management/api-keys` and `management/whoami` (08 §2.3).
public struct KeyRoutes: Sendable {
    private let database: TenantDatabase
    private let invalidations: Invalidations

    public init(database: TenantDatabase, invalidations: Invalidations) {
        self.database = database
        self.invalidations = invalidations
    }

    public var all: [Route] {
        [
            Route(.get, "management/api-keys", [.host, .project], .management, meter: .none, list),
            Route(.post, "management/api-keys", [.host, .project], .management, meter: .none, create),
            Route(.get, "management/api-keys/:id", [.host, .project], .management, meter: .none, retrieve),
            Route(.patch, "management/api-keys/:id", [.host, .project], .management, meter: .none, update),
            Route(.delete, "management/api-keys/:id", [.host, .project], .management, meter: .none, revoke),
            Route(.post, "management/api-keys/:id/rotate", [.host, .project], .management, meter: .none, isBodyOptional: true, rotate),
            Route(.put, "management/api-keys/:id/ip-filter", [.host, .project], .management, meter: .none, setIPFilter),
            Route(.put, "management/api-keys/:id/quota", [.host, .project], .management, meter: .none, setQuota),
            Route(.get, "management/whoami", [.host, .project], .anyKey, meter: .none, whoami),
        ]
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        let filter = try KeyFilter(request.query)
        let actor = try context.actor(of: request)
        let page = try database.withConnection(of: context.principal.projectID) { try $0.keys(query, filter, for: actor) }
        return try .list(page)
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let new = try RequestDocument.read(request.body, context.services.parser) { try KeyBodies.new($0) }
        let actor = try context.actor(of: request)
        var id: ID<APIKey>?
        let response = try context.write(request, to: database) { connection in
            let key = try connection.createKey(new, by: actor)
            id = key.id
            return try .json(encoding: key, status: 201)
        }
        // Whoever tried the key before it was there is remembered as wrong for a second.
        if let id { invalidations.publish("key:\(id)") }
        return response
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let actor = try context.actor(of: request)
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.key(id, for: actor) })
    }

    private func update(_ request: Request, _ context: Context) throws -> Response {
        let change = try RequestDocument.read(request.body, context.services.parser) { try KeyBodies.change($0) }
        return try self.change(request, context) { try .json(encoding: $0.updateKey($1, to: change, by: $2)) }
    }

    private func rotate(_ request: Request, _ context: Context) throws -> Response {
        let grace =
            request.body.isEmpty
            ? KeyRules.defaultGrace : try RequestDocument.read(request.body, context.services.parser) { try KeyBodies.grace($0) }
        let scaled = Double(grace) * context.services.timeScale
        return try change(request, context) { try .json(encoding: $0.rotateKey($1, grace: scaled, by: $2)) }
    }

    private func setIPFilter(_ request: Request, _ context: Context) throws -> Response {
        let rules = try RequestDocument.read(request.body, context.services.parser, allowsNull: true) {
            $0.isNull ? nil : try KeyBodies.ipFilter($0, "")
        }
        return try change(request, context) { try .json(encoding: $0.setIPFilter(rules, on: $1, by: $2)) }
    }

    private func setQuota(_ request: Request, _ context: Context) throws -> Response {
        let quota = try RequestDocument.read(request.body, context.services.parser, allowsNull: true) {
            $0.isNull ? nil : try KeyBodies.quota($0, "")
        }
        return try change(request, context) { try .json(encoding: $0.setQuota(quota, on: $1, by: $2)) }
    }

    private func revoke(_ request: Request, _ context: Context) throws -> Response {
        try change(request, context) { connection, id, actor in
            try connection.revokeKey(id, by: actor)
            return try .json(encoding: DeletedKey(id: id))
        }
    }

    /// Changes the key of the path, and tells the gateways once that is committed.
    private func change(
        _ request: Request, _ context: Context, _ body: (TenantConnection, ID<APIKey>, AuditActor) throws -> Response
    ) throws -> Response {
        let id = try Self.id(request)
        let actor = try context.actor(of: request)
        let response = try context.write(request, to: database) { try body($0, id, actor) }
        invalidations.publish("key:\(id)")
        return response
    }

    private func whoami(_ request: Request, _ context: Context) throws -> Response {
        let principal = try context.principal
        return try .json(encoding: database.withConnection(of: principal.projectID) { try $0.whoami(principal) })
    }

    private static func id(_ request: Request) throws -> ID<APIKey> {
        guard let id = ID<APIKey>(request.pathParameters["id"] ?? "") else { throw AccountError.noSuchKey }
        return id
    }
}

/// The answer to a deletion.
private struct DeletedKey: Encodable {
    var id: ID<APIKey>
    var object = "api_key.deleted"
    var deleted = true
}

extension KeyFilter {
    init(_ query: Query) throws {
        self.init()
        switch query["active"] {
        case nil: break
        case "true": isActive = true
        case "false": isActive = false
        default: throw APIError.invalid("active", "'active' must be 'true' or 'false'.")
        }
        if let name = query["scope"] {
            guard let scope = try? KeyRules.scopes([name]).first else {
                throw APIError(.invalidScope, "'scope' must be inference, management or execution.", param: "scope")
            }
            self.scope = scope
        }
    }
}
