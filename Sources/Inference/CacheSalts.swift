import Catalog
import Crypto
import OpenAI
import Server
import Threads

/// What an engine's prefix cache is salted with (05 §5): nobody can find out by timing what another project has asked a server that both use.
public struct CacheSalts: Sendable {
    private let secret: [UInt8]
    private let ofProjects = Remembered<ID<Project>, String>(most: 10_000)

    public init(secret: [UInt8]) { self.secret = secret }

    /// nil for engines that take none.
    func salt(for request: Request, at endpoint: EndpointRecord, _ adapter: EngineAdapter) -> String? {
        adapter.saltsCache ? salt(for: request, at: endpoint) : nil
    }

    func salt(for request: Request, at endpoint: EndpointRecord) -> String {
        isCached(request, at: endpoint) ? salt(of: endpoint.projectID) : Self.once()
    }

    /// Whether the prompt may be found in a cache, and stay there.
    func isCached(_ request: Request, at endpoint: EndpointRecord) -> Bool {
        endpoint.prefixCache && RoutingHeaders.allowsPrefixCache(request)
    }

    /// The same for all requests of a project; 22 characters.
    package func salt(of project: ID<Project>) -> String {
        ofProjects.value(for: project) { Self.text(HMAC.sha256(key: secret, Array(project.description.utf8))) }
    }

    /// One that no other request has: nothing is found in the cache, nor found there later.
    package static func once() -> String { text(Random.bytes(32)) }

    private static func text(_ bytes: [UInt8]) -> String { String(Base64URL.encode(bytes).prefix(22)) }
}
