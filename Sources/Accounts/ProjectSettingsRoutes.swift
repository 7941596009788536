import JSON
import OpenAI
import Server
import Tenancy

/// `settings` of a project, all together and key by key (08 §2).
public struct ProjectSettingsRoutes: Sendable {
    private let database: TenantDatabase

    public init(database: TenantDatabase) { self.database = database }

    public var all: [Route] {
        [
            Route(.get, "settings", [.host, .project], .management, meter: .none, list),
            Route(.get, "settings/:key", [.host, .project], .management, meter: .none, retrieve),
            Route(.put, "settings/:key", [.host, .project], .management, meter: .none, set),
        ]
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        let actor = try context.actor(of: request)
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.settings(for: actor) })
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let key = try Self.key(request)
        let actor = try context.actor(of: request)
        let settings = try database.withConnection(of: context.principal.projectID) { try $0.settings(for: actor) }
        return try .json(encoding: ProjectSetting(key, of: settings))
    }

    /// `{value}`.
    private func set(_ request: Request, _ context: Context) throws -> Response {
        let key = try Self.key(request)
        let value = try RequestDocument.read(request.body, context.services.parser) { root in
            try Fields.refuseMembers(of: root, "", except: ["value"])
            guard let value = root["value"] else {
                throw APIError(.missingRequiredParameter, "'value' is missing.", param: "value")
            }
            return try Fields.bool(value, "value")
        }
        let actor = try context.actor(of: request)
        return try context.write(request, to: database) {
            try .json(encoding: ProjectSetting(key, of: $0.setSetting(key, to: value, by: actor)))
        }
    }

    private static func key(_ request: Request) throws -> ProjectSettings.Key {
        guard let key = ProjectSettings.Key(rawValue: request.pathParameters["key"] ?? "") else {
            throw APIError(.notFound, "There is no such setting.")
        }
        return key
    }
}

/// One setting.
private struct ProjectSetting: Encodable {
    var object = "project.setting"
    var key: String
    var value: Bool

    init(_ key: ProjectSettings.Key, of settings: ProjectSettings) {
        self.key = key.rawValue
        value =
            switch key {
            case .approveNewAgents: settings.approveNewAgents
            }
    }
}
