import Crypto
import Logging
import OpenAI
import Postgres
import Server
import Tenancy

/// The catalog as Postgres holds it, at most a second old.
public final class PostgresCatalog: CatalogSource {
    private let catalogs: FreshCache<ID<Project>, ProjectCatalog>

    /// - Parameters:
    ///   - sealing: opens the upstreams' API keys.
    ///   - capacity: the most projects that are remembered.
    public init(database: TenantDatabase, sealing: Sealing, capacity: Int = 10_000, logger: Logger) {
        catalogs = FreshCache(capacity: capacity) { project in
            let stored = try database.withConnection(of: project) { try $0.endpoints() }
            return ProjectCatalog(endpoints: try stored.map { try $0.opened(sealing, logger: logger) })
        }
        catalogs.startRefreshing(name: "catalogs")
    }

    /// - Throws: `CatalogError.recordsUnavailable` while Postgres is away.
    public func catalog(of project: ID<Project>) throws -> ProjectCatalog {
        do {
            return try catalogs.value(for: project) ?? ProjectCatalog(endpoints: [])
        } catch let error as PostgresError where error.isUnavailable {
            throw CatalogError.recordsUnavailable
        }
    }

    /// Forgets what a message of the invalidation channel names: `project:<id>` or `tiers`; others are not for us.
    public func invalidate(message: String) {
        if message == "tiers" {
            flush()
        } else if message.hasPrefix("project:"), let project = ID<Project>(String(message.dropFirst("project:".count))) {
            catalogs.invalidate(project)
        }
    }

    /// Forgets everything, for when messages may have been missed.
    public func flush() { catalogs.flush() }

    public func shutdown() { catalogs.stop() }
}
