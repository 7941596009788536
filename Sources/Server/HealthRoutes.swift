import JSON
import OpenAI

/// This product's version.
public enum Version {
    public static let text = "0.1.0"
}

/// `/healthz`: the process lives. `/readyz`: what it cannot do without answers.
public struct HealthRoutes: Sendable {
    /// A dependency and whether it answers now.
    public struct Check: Sendable {
        let name: String
        let isUp: @Sendable () -> Bool

        public init(_ name: String, _ isUp: @escaping @Sendable () -> Bool) {
            self.name = name
            self.isUp = isUp
        }
    }

    private let checks: [Check]
    private let start = ContinuousClock.now

    public init(checks: [Check]) { self.checks = checks }

    public var all: [Route] {
        [
            Route(.get, "healthz", .root, .open, meter: .none) { _, _ in healthz() },
            Route(.get, "readyz", .root, .open, meter: .none) { _, _ in readyz() },
        ]
    }

    private func healthz() -> Response {
        var json = JSONWriter()
        json.raw(#"{"status":"ok","version":"#)
        json.string(Version.text)
        json.raw(#","uptime_s":"#)
        json.integer((ContinuousClock.now - start).components.seconds)
        json.raw("}" as StaticString)
        return .json(json.bytes)
    }

    private func readyz() -> Response {
        guard let failing = checks.first(where: { !$0.isUp() }) else { return .json(Array(#"{"status":"ready"}"#.utf8)) }
        var json = JSONWriter()
        json.raw(#"{"status":"unavailable","failing":"#)
        json.string(failing.name)
        json.raw("}" as StaticString)
        return .json(json.bytes, status: 503, headers: [("Retry-After", "1")])
    }
}
