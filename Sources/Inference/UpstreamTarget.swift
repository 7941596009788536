import HTTPClient
import Synchronization
import Threads

/// One base URL of an endpoint: its connections, its state of health, and whether we may go there at all.
final class UpstreamTarget: Sendable {
    /// With `/v1` and the slash after it; nil when the outbound guard refuses the URL.
    let base: String?
    /// Why it is refused, for logs.
    let refusal: OutboundRefusal?
    let healthURL: String
    let host: String
    let inFlight = Atomic(0)
    private let client: HTTPClient
    private let pinned: PinnedHost?
    private let health = Lock(UpstreamHealthState())

    init(_ text: String, healthPath: String, outbound: OutboundGuard, maxIdle: Int, connectTimeout: Duration) {
        var settings = HTTPClientSettings()
        settings.maxIdle = maxIdle
        settings.connectTimeout = connectTimeout
        do throws(OutboundRefusal) {
            let url = try outbound.check(text)
            var path = url.target
            while path.hasSuffix("/") { path.removeLast() }
            if !path.hasSuffix("/v1") { path += "/v1" }
            base = "\(url.origin)\(path)/"
            healthURL = url.origin + (healthPath.hasPrefix("/") ? healthPath : "/" + healthPath)
            host = url.host
            refusal = nil
            pinned = PinnedHost(url, outbound, limit: connectTimeout)
            let isListed = outbound.isListed(url)
            settings.isAllowed = { isListed || outbound.permits($0) }
        } catch {
            (base, healthURL, host, refusal, pinned) = (nil, "", "", error, nil)
            settings.isAllowed = { _ in false }
        }
        client = HTTPClient(settings)
    }

    /// Calls it, at an address that the guard has vetted.
    func start(_ request: HTTPRequest, extraDescriptor: Int32? = nil) -> HTTPTransfer {
        do throws(OutboundRefusal) {
            return client.start(request, pin: try pinned?.pin(), extraDescriptor: extraDescriptor)
        } catch {
            if case .unreachable(let kind) = error { return HTTPTransfer(refused: HTTPFailure(kind, "the host has no address")) }
            return HTTPTransfer(refused: HTTPFailure(.blocked, "\(error)"))
        }
    }

    var isHealthy: Bool { health.withLock { $0.isIn } }

    func report(probeSucceeded: Bool) { health.withLock { $0.receive(probeSucceeded: probeSucceeded) } }
}

/// Three failures in a row take a server out, one success brings it back; before the first probe it counts as well.
struct UpstreamHealthState: Sendable {
    private(set) var isIn = true
    private var failures = 0

    mutating func receive(probeSucceeded: Bool) {
        failures = probeSucceeded ? 0 : failures + 1
        if probeSucceeded { isIn = true } else if failures >= 3 { isIn = false }
    }
}
