/// When an engine that crashed is started again (05 §17.5). Times are seconds on a monotonic clock.
package struct CrashHistory: Sendable, Equatable {
    package enum Verdict: Sendable, Equatable {
        case restart(after: Double)
        /// It has crashed too often to be of use.
        case failed
    }

    private static let span = 600.0
    private static let most = 5
    private static let longestPause = 60.0

    /// Of the last ten minutes.
    private var crashes: [Double] = []

    package init() {}

    /// After 1, 2, 4 … 60 s; the fifth crash within ten minutes is the last.
    package mutating func crashed(at now: Double) -> Verdict {
        crashes = crashes.filter { now - $0 < Self.span } + [now]
        guard crashes.count < Self.most else { return .failed }
        return .restart(after: min(Self.longestPause, Double(1 << (crashes.count - 1))))
    }
}

/// Whether an engine hangs (05 §17.6): no request of it has had a token for two minutes, and it does not answer. One of them alone is no hang: a long
/// prompt is silent for long, and a busy server may miss a probe. Times are seconds on a monotonic clock.
package struct HangWatch: Sendable, Equatable {
    private static let probes = 3

    private let silence: Double
    private var lastSign: Double
    private var failures = 0

    /// - Parameter silence: seconds without a token.
    package init(silence: Double = 120, at now: Double) {
        self.silence = silence
        lastSign = now
    }

    /// A request has begun, got a token, or ended.
    package mutating func sign(at now: Double) { lastSign = max(lastSign, now) }

    /// An engine that answers while nothing runs gives a sign of life, too.
    package mutating func probed(isHealthy: Bool, isIdle: Bool, at now: Double) {
        failures = isHealthy ? 0 : failures + 1
        if isHealthy && isIdle { sign(at: now) }
    }

    package func hangs(at now: Double) -> Bool { failures >= Self.probes && now - lastSign >= silence }
}
