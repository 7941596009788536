import Catalog
import OpenAI
import Threads

/// Gives the upstream of an endpoint: one for each generation of its settings, with its connections, queue and health.
///
/// A changed endpoint gets a new one; the old one goes when its last call has ended.
public final class UpstreamPool: Sendable {
    private let settings: HTTPUpstreamSettings
    private let health: UpstreamHealth
    private let placesPerProcess: @Sendable (EndpointRecord) -> Int
    private let mesh: MeshLinks?
    private let state = Lock<[ID<Endpoint>: Entry]>([:])

    private struct Entry {
        let generation: Int64
        let settings: UpstreamSettings
        let upstream: HTTPUpstream
        var lastUse: ContinuousClock.Instant
    }

    /// - Parameters:
    ///   - mesh: to agents, for endpoints without an upstream of their own; nil where there are none.
    ///   - placesPerProcess: this process' share of the endpoint's `max_concurrent`.
    public init(
        settings: HTTPUpstreamSettings, health: UpstreamHealth, mesh: MeshLinks? = nil,
        placesPerProcess: @escaping @Sendable (EndpointRecord) -> Int
    ) {
        self.mesh = mesh
        self.settings = settings
        self.health = health
        self.placesPerProcess = placesPerProcess
    }

    public func upstream(of endpoint: EndpointRecord) -> any Upstream {
        if endpoint.isServedByAgents {
            return mesh.map { MeshUpstream(endpoint, links: $0) } ?? NoMesh()
        }
        return state.withLock { entries in
            if let known = entries[endpoint.id], known.generation == endpoint.generation, known.settings == endpoint.upstream {
                entries[endpoint.id]?.lastUse = .now
                return known.upstream
            }
            let now = ContinuousClock.now
            entries = entries.filter { now - $0.value.lastUse < .seconds(600) }
            let upstream = HTTPUpstream(endpoint, places: max(1, placesPerProcess(endpoint)), settings: settings, health: health)
            entries[endpoint.id] = Entry(generation: endpoint.generation, settings: endpoint.upstream, upstream: upstream, lastUse: now)
            return upstream
        }
    }
}
