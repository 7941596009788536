import Catalog
import Dispatch
import HTTPClient
import Logging
import Mesh
import Threads

/// Asks the servers of all endpoints for their health, so that new ones come to life and dead ones are seen (07 §6). All gateways that run one share
/// the work: each takes what is due.
///
/// Beside it each process watches the upstreams that it calls itself (`UpstreamHealth`) and needs no database for that.
public final class EndpointProber: Sendable {
    private let probes: EndpointProbes
    private let settings: HTTPUpstreamSettings
    private let pause: Duration
    private let patience: Duration
    private let logger: Logger
    private let bell = Doorbell()
    private let ended = DispatchSemaphore(value: 0)
    private let isStopping = Lock(false)

    /// At most so many at a time, each with up to 16 servers.
    private static let batch = 16

    /// Starts at once.
    /// - Parameter pause: between two looks for what is due; a ring of the bell cuts it short.
    public init(probes: EndpointProbes, settings: HTTPUpstreamSettings, pause: Duration = .seconds(5), logger: Logger) {
        self.probes = probes
        self.settings = settings
        self.pause = max(pause * settings.timeScale, .milliseconds(100))
        patience = .seconds(5) * settings.timeScale
        self.logger = logger
        startThread("endpoint-prober", stackSize: 512 << 10) { [self] in
            run()
            ended.signal()
        }
    }

    /// Looks at once for what is due: an endpoint has changed.
    public func ring() { bell.ring() }

    /// Ends the thread and waits for it. It may be called once.
    public func stop() {
        isStopping.withLock { $0 = true }
        bell.ring()
        ended.wait()
    }

    private func run() {
        while !isStopping.withLock({ $0 }) {
            do {
                try probes.finishDeletions()
                while try round() == Self.batch {}
            } catch {
                // Nobody's state changes until the database is back.
                logger.warning("the health of endpoints is not asked for", metadata: ["error": "\(error)"])
            }
            if bell.wait(until: .now + pause) == .rung { bell.silence() }
        }
    }

    /// - Returns: how many endpoints were due.
    private func round() throws -> Int {
        let endpoints = try probes.claim(atMost: Self.batch)
        let started = endpoints.map { start($0) }
        let asked = zip(endpoints, started).map { askForModels($0, $1) }
        var running = started.flatMap { $0 } + asked.compactMap(\.self)
        let end = ContinuousClock.now + patience
        while !running.isEmpty && ContinuousClock.now < end {
            running.removeAll { $0.hasEnded() }
            _ = Doorbell.pause(until: .now + .milliseconds(5), unless: nil)
        }
        running.forEach { $0.giveUp() }
        for (index, endpoint) in endpoints.enumerated() {
            let models = asked[index].flatMap { $0.hasSucceeded ? $0 : nil }
            let engine = models.flatMap { ModelFacts(modelsBody: $0.body, server: $0.server, model: endpoint.upstreamModel) }
            try probes.report(endpoint, ready: started[index].count { $0.hasSucceeded }, engine: engine)
        }
        return endpoints.count
    }

    /// Whose server it is shows in its list of models; mostly that is its health probe, too.
    private func askForModels(_ endpoint: EndpointRecord, _ probes: [UpstreamProbe]) -> UpstreamProbe? {
        guard let first = probes.first, let base = first.target.base else { return nil }
        let url = base + "models"
        if url == first.target.healthURL { return first }
        return UpstreamProbe(first.target, url, headers: headers(endpoint))
    }

    private func headers(_ endpoint: EndpointRecord) -> HTTPHeaders {
        HTTPHeaders(HTTPUpstream.headerLines(of: endpoint.upstream, userAgent: settings.userAgent))
    }

    /// A URL that may not be called is a server that does not answer. So is one whose key cannot be opened: every call would be refused.
    private func start(_ endpoint: EndpointRecord) -> [UpstreamProbe] {
        let headers = headers(endpoint)
        return endpoint.upstream.urls.map {
            UpstreamTarget(
                $0, healthPath: endpoint.upstream.healthPath, outbound: settings.outbound, maxIdle: 1,
                connectTimeout: settings.connectTimeout * settings.timeScale)
        }.filter { $0.base != nil }.map { UpstreamProbe($0, headers: headers) }
    }
}
