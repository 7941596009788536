/// Decides whether commits may gather for a moment before they are written: together they cost the database a fraction of what each costs alone.
/// Under load the pause spares more time than it takes; who comes alone never waits.
package struct GatheringPause {
    /// A pause that brings fewer commits than this is not worth its time.
    private static let least = 6.0

    private let longest: Double
    private let enough: Int
    private var lastTaken: ContinuousClock.Instant?

    /// - Parameters:
    ///   - longest: no pause is longer, in seconds.
    ///   - enough: a pause ends when about so many commits wait: the cost of each hardly falls any more.
    package init(longest: Double, enough: Int) {
        self.longest = longest
        self.enough = enough
    }

    /// How long to wait, in seconds, when `waiting` commits have come since the last batch was taken; 0 = take them now.
    package func length(waiting: Int, now: ContinuousClock.Instant) -> Double {
        guard let lastTaken, waiting < enough else { return 0 }
        let elapsed = (now - lastTaken) / .seconds(1)
        guard elapsed > 0 else { return 0 }
        let rate = Double(waiting) / elapsed
        return rate * longest >= Self.least ? min(longest, Double(enough - waiting) / rate) : 0
    }

    package mutating func taken(at now: ContinuousClock.Instant) { lastTaken = now }
}
