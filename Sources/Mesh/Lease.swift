/// Whether an agent is still there, as the router judges it (05 §13). Times are seconds on a monotonic clock.
public struct Lease: Sendable, Equatable {
    public enum State: Sendable, Equatable {
        case live
        /// Silent, or its connection is lost: it gets nothing new.
        case suspect
        /// What it worked on is given to others.
        case disconnected
        case dead
    }

    /// The lengths of 05 §13; tests shorten them.
    public struct Limits: Sendable, Equatable {
        public var suspect: Double
        public var disconnected: Double
        public var dead: Double

        public init(timeScale: Double = 1) {
            suspect = 15 * timeScale
            disconnected = 30 * timeScale
            dead = 86_400 * timeScale
        }
    }

    private let limits: Limits
    private var lastHeard: Double
    private var isConnectionLost = false

    /// A session has begun.
    public init(_ limits: Limits = Limits(), at now: Double) {
        self.limits = limits
        lastHeard = now
    }

    /// A frame has come, of whatever kind.
    public mutating func heard(at now: Double) {
        lastHeard = max(lastHeard, now)
        isConnectionLost = false
    }

    public mutating func connectionLost() { isConnectionLost = true }

    public func state(at now: Double) -> State {
        switch now - lastHeard {
        case limits.dead...: .dead
        case limits.disconnected...: .disconnected
        case limits.suspect...: .suspect
        default: isConnectionLost ? .suspect : .live
        }
    }

    /// When it becomes something else unless it is heard of; nil = it is dead.
    public func nextChange(after now: Double) -> Double? {
        [limits.suspect, limits.disconnected, limits.dead].map { lastHeard + $0 }.first { $0 > now }
    }

    /// Until when the agent may count on its work; told in `lease_ack`.
    public var end: Double { lastHeard + limits.disconnected }
}
