import Threads

/// The vetted addresses of one URL's host, asked for again after a minute. While one thread asks, the others go on with what was found before.
public final class PinnedHost: Sendable {
    private let url: OutboundURL
    private let outbound: OutboundGuard
    private let limit: Duration
    private let lifetime: Duration
    private let isLookedUp: Bool
    private let state = Lock(State())

    private struct State {
        var pin: HTTPPin?
        var askAgain: ContinuousClock.Instant?
    }

    /// - Parameter limit: how long the resolver may take.
    public init(_ url: OutboundURL, _ outbound: OutboundGuard, limit: Duration, lifetime: Duration = .seconds(60)) {
        self.url = url
        self.outbound = outbound
        self.limit = limit
        self.lifetime = lifetime
        isLookedUp = url.address == nil && !outbound.isListed(url)
    }

    /// - Returns: nil where no name has to be looked up, or the operator lists the host.
    /// - Throws: `OutboundRefusal`.
    public func pin() throws(OutboundRefusal) -> HTTPPin? {
        guard isLookedUp else { return nil }
        let known = state.withLock { state -> HTTPPin? in
            guard let askAgain = state.askAgain, let pin = state.pin else { return nil }
            if .now >= askAgain {
                // The thread that finds it old asks; nobody else does for as long as that may take.
                state.askAgain = .now + limit
                return nil
            }
            return pin
        }
        if let known { return known }
        do {
            let pin = try outbound.vet(url, within: limit)
            state.withLock { ($0.pin, $0.askAgain) = (pin, .now + lifetime) }
            return pin
        } catch {
            state.withLock { $0 = State() }
            throw error
        }
    }
}
