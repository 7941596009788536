import Catalog
import HTTPClient
import OpenAI
import Synchronization

/// What the operator says about calling model servers.
public struct HTTPUpstreamSettings: Sendable {
    /// Decides which URLs may be called.
    public var outbound = OutboundGuard()
    /// Multiplies every wait of ours.
    public var timeScale: Double = 1
    public var userAgent = "xerotier"
    public var connectTimeout: Duration = .seconds(5)
    /// The largest answer that is not a stream.
    public var maximumAnswerBytes = 64 << 20
    /// Told what clients must not see, such as a refused address.
    public var log: @Sendable (String) -> Void = { _ in }

    public init() {}
}

/// The OpenAI-compatible server of one generation of an endpoint, behind one or several URLs (05 §10).
public final class HTTPUpstream: Upstream {
    let workerID: String
    let targets: [UpstreamTarget]
    let gate: UpstreamGate
    let settings: HTTPUpstreamSettings
    let health: UpstreamHealth
    let timeout: Duration
    private let headers: HTTPHeaders
    private let probeHeaders: HTTPHeaders
    private let turn = Atomic(0)

    /// - Parameter places: how many calls this process may have running there at once.
    public init(_ endpoint: EndpointRecord, places: Int, settings: HTTPUpstreamSettings, health: UpstreamHealth) {
        let upstream = endpoint.upstream
        workerID = "upstream:\(endpoint.id)"
        self.settings = settings
        self.health = health
        timeout = .milliseconds(upstream.timeoutMilliseconds) * settings.timeScale
        // As deep as for all places of the endpoint: connections are not shared out evenly between processes.
        gate = UpstreamGate(places: places, depth: 4 * max(places, endpoint.upstream.maxConcurrent))
        targets = upstream.urls.map { url in
            UpstreamTarget(
                url, healthPath: upstream.healthPath, outbound: settings.outbound, maxIdle: places,
                connectTimeout: settings.connectTimeout * settings.timeScale)
        }
        let own = Self.headerLines(of: upstream, userAgent: settings.userAgent)
        headers = HTTPHeaders(own + ["Content-Type: application/json"])
        probeHeaders = HTTPHeaders(own)
        for refusal in targets.compactMap(\.refusal) {
            settings.log("egress_blocked: \(workerID) has a URL that may not be called (\(refusal)): see egress.allow_hosts")
        }
        health.watch(self)
    }

    public func send(_ request: UpstreamRequest) -> any UpstreamCall { HTTPUpstreamCall(request, to: self) }

    /// The least busy healthy target, in turn among equals; those in `tried` only when there is no other.
    func choose(besides tried: [UpstreamTarget]) -> UpstreamTarget? {
        if targets.count == 1, let only = targets.first { return only.base != nil && only.isHealthy ? only : nil }
        let allowed = targets.filter { $0.base != nil && $0.isHealthy }
        let fresh = allowed.filter { target in !tried.contains { $0 === target } }
        let candidates = fresh.isEmpty ? allowed : fresh
        guard candidates.count > 1 else { return candidates.first }
        let start = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        let rotated = (0..<candidates.count).map { candidates[(start &+ $0) % candidates.count] }
        return rotated.min { $0.inFlight.load(ordering: .relaxed) < $1.inFlight.load(ordering: .relaxed) }
    }

    func start(_ request: UpstreamRequest, at target: UpstreamTarget) -> HTTPTransfer {
        let message = HTTPRequest(
            .post, (target.base ?? "") + request.path, headers: headers, extraHeader: "X-Request-ID: \(request.requestID)",
            body: request.body)
        return target.start(message, extraDescriptor: request.clientDescriptor)
    }

    func startProbes() -> [UpstreamProbe] { targets.filter { $0.base != nil }.map { UpstreamProbe($0, headers: probeHeaders) } }

    /// With the endpoint's key, which the operator's server may want for its health, too.
    static func headerLines(of upstream: UpstreamSettings, userAgent: String) -> [String] {
        let given = upstream.headers.filter { name, value in
            !(name + value).unicodeScalars.contains { $0.value < 32 || $0.value == 127 } && !UpstreamSettings.isOwnHeader(name)
        }
        let key = upstream.apiKey.map { ["Authorization: Bearer \($0)"] } ?? []
        return ["User-Agent: \(userAgent)", "Accept: application/json, text/event-stream"] + key + given.map { "\($0): \($1)" }.sorted()
    }
}
