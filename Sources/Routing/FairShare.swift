import Glibc

/// What the projects of a pool use of it, and what each is entitled to (05 §9).
public struct FairShare: Sendable {
    /// Seconds after which what was used counts half.
    public static let halfLife: Double = 30
    /// Seconds for which a project without a request counts as active.
    public static let activeFor: Double = 60

    private struct Use {
        var weight: Int
        var tokens: Double
        var at: Instant

        func tokens(at now: Instant) -> Double { tokens * exp2(-(now - at) / FairShare.halfLife) }
    }

    private var uses: [String: Use] = [:]
    private var nextCleaning: Instant = -.infinity

    public init() {}

    /// A request of the project was dispatched, or arrived with 0 tokens.
    /// - Parameter weight: 1...10, of the project's plan.
    public mutating func add(_ tokens: Int, of project: String, weight: Int = 1, at now: Instant) {
        let before = uses[project]?.tokens(at: now) ?? 0
        uses[project] = Use(weight: max(1, min(10, weight)), tokens: before + Double(tokens), at: now)
        guard now >= nextCleaning else { return }
        nextCleaning = now + Self.activeFor
        uses = uses.filter { now - $0.value.at <= Self.activeFor }
    }

    public func entitlement(of project: String, at now: Instant) -> Entitlement {
        var weights = 0
        var tokens = 0.0
        for use in uses.values where now - use.at <= Self.activeFor {
            weights += use.weight
            tokens += use.tokens(at: now)
        }
        let own = uses[project].flatMap { now - $0.at <= Self.activeFor ? $0 : nil }
        guard let own else { return Entitlement(share: 1 / Double(weights + 1), used: 0) }
        return Entitlement(share: Double(own.weight) / Double(weights), used: tokens > 0 ? own.tokens(at: now) / tokens : 0)
    }
}

/// A project's part of a pool, 0...1: what is its due, and what it has used of late.
public struct Entitlement: Sendable, Equatable {
    public var share: Double
    public var used: Double

    public init(share: Double, used: Double) {
        self.share = share
        self.used = used
    }

    public enum Standing: Int, Comparable, Sendable {
        /// Less than its due: before everybody else at saturation.
        case below
        case within
        /// More than twice its due: behind everybody who is below.
        case above

        public static func < (left: Standing, right: Standing) -> Bool { left.rawValue < right.rawValue }
    }

    public var standing: Standing { used < share ? .below : used > 2 * share ? .above : .within }
}
