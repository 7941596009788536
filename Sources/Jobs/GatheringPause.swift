/// Decides whether commits may gather for a moment before they are written: together they cost the database a fraction of what each costs alone.
/// Under load the pause spares more time than it takes; who comes alone never waits.
package struct GatheringPause {
    /// A pause that brings fewer commits than this is not worth its time.
    private static let least = 2.0

    private let seconds: Double
    private let enough: Int
    private var lastTaken: ContinuousClock.Instant?

    /// - Parameters:
    ///   - seconds: how long a pause is.
    ///   - enough: with so many commits waiting there is none: the cost of each hardly falls any more.
    package init(seconds: Double, enough: Int) {
        self.seconds = seconds
        self.enough = enough
    }

    /// How long to wait, in seconds, when `waiting` commits have come since the last batch was taken; 0 = take them now.
    package func length(waiting: Int, now: ContinuousClock.Instant) -> Double {
        guard let lastTaken, waiting < enough else { return 0 }
        let elapsed = (now - lastTaken) / .seconds(1)
        guard elapsed > 0 else { return 0 }
        return Double(waiting) / elapsed * seconds >= Self.least ? seconds : 0
    }

    package mutating func taken(at now: ContinuousClock.Instant) { lastTaken = now }
}
