import OpenAI
import Server
import Tenancy

/// `management/join-keys` (05 §21): single-use keys that agents enrol with.
public struct JoinKeyRoutes: Sendable {
    private let database: TenantDatabase

    public init(database: TenantDatabase) { self.database = database }

    public var all: [Route] {
        [
            Route(.get, "management/join-keys", [.host, .project], .management, meter: .none, list),
            Route(.post, "management/join-keys", [.host, .project], .management, meter: .none, isBodyOptional: true, create),
            Route(.get, "management/join-keys/:id", [.host, .project], .management, meter: .none, retrieve),
            Route(.delete, "management/join-keys/:id", [.host, .project], .management, meter: .none, revoke),
        ]
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let query = try ListQuery(request.query)
        let state = try request.query["state"].map { text in
            guard let state = JoinKeyObject.State(rawValue: text) else {
                throw APIError.invalid("state", "'state' must be 'active', 'consumed', 'expired' or 'revoked'.")
            }
            return state
        }
        let actor = try context.actor(of: request)
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.joinKeys(query, state: state, for: actor) })
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let new =
            request.body.isEmpty
            ? NewJoinKey() : try RequestDocument.read(request.body, context.services.parser) { try JoinKeyBodies.new($0) }
        let actor = try context.actor(of: request)
        let timeScale = context.services.timeScale
        return try context.write(request, to: database) {
            try .json(encoding: $0.createJoinKey(new, timeScale: timeScale, by: actor), status: 201)
        }
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let actor = try context.actor(of: request)
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.joinKey(id, for: actor) })
    }

    private func revoke(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let actor = try context.actor(of: request)
        return try context.write(request, to: database) {
            try $0.revokeJoinKey(id, by: actor)
            return try .json(encoding: DeletedJoinKey(id: id))
        }
    }

    private static func id(_ request: Request) throws -> ID<JoinKey> {
        guard let id = ID<JoinKey>(request.pathParameters["id"] ?? "") else { throw JoinKeyError.noSuchKey }
        return id
    }
}

/// The answer to a deletion.
private struct DeletedJoinKey: Encodable {
    var id: ID<JoinKey>
    var object = "join_key.deleted"
    var deleted = true
}
