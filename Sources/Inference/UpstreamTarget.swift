import Foundation
import HTTPClient
import Synchronization
import Threads

/// One base URL of an endpoint: its connections, its state of health, and whether we may go there at all.
final class UpstreamTarget: Sendable {
    /// With `/v1` and the slash after it; nil when the operator does not allow the address or it is no URL.
    let base: String?
    let healthURL: String
    let authority: String
    let host: String
    let client: HTTPClient
    let inFlight = Atomic(0)
    private let health = Lock(UpstreamHealthState())

    /// https may go to any public address; everything else only where the operator allows host and port.
    init(_ url: String, healthPath: String, allowedHosts: Set<String>, maxIdle: Int, connectTimeout: Duration) {
        let parts = URLComponents(string: url)
        let scheme = parts?.scheme?.lowercased() ?? ""
        host = parts?.host ?? ""
        authority = "\(host.lowercased()):\(parts?.port ?? (scheme == "https" ? 443 : 80))"
        let isListed = allowedHosts.contains(authority)
        var path = parts?.path ?? ""
        while path.hasSuffix("/") { path.removeLast() }
        if !path.hasSuffix("/v1") { path += "/v1" }
        let written = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
        let origin = "\(scheme)://\(written)" + (parts?.port.map { ":\($0)" } ?? "")
        let isWellFormed = !host.isEmpty && parts?.user == nil && ["http", "https"].contains(scheme)
        base = isWellFormed && (scheme == "https" || isListed) ? "\(origin)\(path)/" : nil
        healthURL = origin + (healthPath.hasPrefix("/") ? healthPath : "/" + healthPath)
        var settings = HTTPClientSettings()
        settings.maxIdle = maxIdle
        settings.connectTimeout = connectTimeout
        settings.isAllowed = { address in isListed || address.isPublic }
        client = HTTPClient(settings)
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
