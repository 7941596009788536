import OpenAI
import Server
import Threads

/// The policies of all endpoints as paths name them, out of the gateway's memory: the records are at most a second old, and messages make changes
/// act at once.
public final class CORSTable: CrossOriginPolicies {
    private struct Path: Hashable {
        var project: String
        var endpoint: String
    }

    private let authenticator: any Authenticator
    private let catalog: any CatalogSource
    /// For as long as records cannot be read: a page shall be able to read the 503 that says so. No policy changes while the database is away.
    private let lastKnown = Lock<[Path: CORSRules]>([:])
    private let capacity: Int

    /// - Parameter capacity: the most endpoints whose last policy is remembered.
    public init(authenticator: any Authenticator, catalog: any CatalogSource, capacity: Int = 10_000) {
        self.authenticator = authenticator
        self.catalog = catalog
        self.capacity = capacity
    }

    public func policy(project: String, endpoint: String) -> (any CrossOriginPolicy)? {
        let path = Path(project: project, endpoint: endpoint)
        do {
            let rules = try rules(path)
            lastKnown.withLock { known in
                if known[path] === rules { return }
                if known.count >= capacity, known[path] == nil, let other = known.keys.first { known[other] = nil }
                known[path] = rules
            }
            return rules
        } catch {
            return lastKnown.withLock { $0[path] }
        }
    }

    /// nil = there is no such endpoint.
    private func rules(_ path: Path) throws -> CORSRules? {
        guard let project = try authenticator.projectID(named: path.project) else { return nil }
        let endpoints = try catalog.catalog(of: project)
        return try? EndpointResolver.resolve(slug: path.endpoint, in: endpoints).cors
    }
}
