import Dispatch
import Foundation
import HTTPClient
import Threads

/// Asks every model server now and then whether it works: one thread for all upstreams of the process (05 §10).
public final class UpstreamHealth: Sendable {
    private let interval: Duration
    private let patience: Duration
    private let bell = Doorbell()
    private let ended = DispatchSemaphore(value: 0)
    private let state = Lock(State())

    private struct State {
        var upstreams: [WatchedUpstream] = []
        var watchedEver = 0
        var isStopping = false
    }

    private struct WatchedUpstream: Sendable {
        let number: Int
        weak let upstream: HTTPUpstream?
    }

    /// Starts at once.
    public init(timeScale: Double = 1, interval: Duration = .seconds(15)) {
        self.interval = interval * timeScale
        patience = .seconds(5) * timeScale
        startThread("upstream-health", stackSize: 512 << 10) { [self] in
            run()
            ended.signal()
        }
    }

    /// Ends the thread and waits for it. It may be called once.
    public func stop() {
        state.withLock { $0.isStopping = true }
        bell.ring()
        ended.wait()
    }

    /// Until the next round, for Retry-After.
    var retryAfter: Int { min(30, max(1, Int((interval / .seconds(1)).rounded(.up)))) }

    /// Probes it from now on, at once for the first time, until nobody holds it any more.
    func watch(_ upstream: HTTPUpstream) {
        state.withLock { state in
            state.watchedEver += 1
            state.upstreams.append(WatchedUpstream(number: state.watchedEver, upstream: upstream))
        }
        bell.ring()
    }

    private func run() {
        var nextRound = ContinuousClock.now + interval
        /// The numbers of those that this round has probed.
        var probed = Set<Int>()
        while true {
            let (watched, isStopping) = state.withLock { state in
                state.upstreams.removeAll { $0.upstream == nil }
                return (state.upstreams, state.isStopping)
            }
            if isStopping { return }
            if ContinuousClock.now >= nextRound {
                nextRound = .now + interval
                probed = []
            }
            probe(watched.filter { probed.insert($0.number).inserted }.compactMap(\.upstream))
            if bell.wait(until: nextRound) == .rung { bell.silence() }
        }
    }

    /// All at once, so that a dead one does not keep the others waiting.
    private func probe(_ upstreams: [HTTPUpstream]) {
        var running = upstreams.flatMap { $0.startProbes() }
        let end = ContinuousClock.now + patience
        while !running.isEmpty {
            running.removeAll { $0.hasEnded() }
            if running.isEmpty || state.withLock({ $0.isStopping }) { return }
            if ContinuousClock.now >= end { return running.forEach { $0.giveUp() } }
            _ = Doorbell.pause(until: .now + .milliseconds(10), unless: nil)
        }
    }
}

/// A probe on its way. Any answer of 2xx is a success; the body of one is kept, up to a bound.
final class UpstreamProbe {
    let target: UpstreamTarget
    private let transfer: HTTPTransfer
    private var status = 0
    private(set) var hasSucceeded = false
    /// `Server` of the answer.
    private(set) var server: String?
    private(set) var body: [UInt8] = []

    private static let largestBody = 256 << 10

    /// - Parameter url: on this target; its health by default.
    init(_ target: UpstreamTarget, _ url: String? = nil, headers: HTTPHeaders) {
        self.target = target
        transfer = target.start(HTTPRequest(.get, url ?? target.healthURL, headers: headers))
    }

    /// Goes on without waiting; true after the end.
    func hasEnded() -> Bool {
        while true {
            switch transfer.next(until: .now + .milliseconds(1)) {
            case .head(let head):
                status = head.status
                server = head.value(of: "server")
            case .body(let bytes):
                if body.count + bytes.count <= Self.largestBody { body.append(contentsOf: bytes) }
            case .finished: return report((200..<300).contains(status))
            case .failed: return report(false)
            case .extraDescriptorReady, .timedOut: return false
            }
        }
    }

    func giveUp() {
        transfer.cancel()
        target.report(probeSucceeded: false)
    }

    private func report(_ succeeded: Bool) -> Bool {
        hasSucceeded = succeeded
        target.report(probeSucceeded: succeeded)
        return true
    }
}
