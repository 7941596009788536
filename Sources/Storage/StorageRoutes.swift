import Server
import Tenancy

/// `storage` (08 §4).
public struct StorageRoutes: Sendable {
    private let database: TenantDatabase

    public init(database: TenantDatabase) { self.database = database }

    public var all: [Route] {
        [Route(.get, "storage", [.host, .project], .inferenceOrManagement, meter: .none, readout)]
    }

    private func readout(_ request: Request, _ context: Context) throws -> Response {
        try request.query.allow([])
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.storageReadout() })
    }
}
