/// Seconds on a monotonic clock that the caller reads: nothing in this module looks at a clock or rolls a die by itself.
public typealias Instant = Double

extension Double {
    /// Exponentially weighted moving average: what was, moved toward what was just seen. The first value stands as it is.
    static func average(_ before: Double?, with value: Double, alpha: Double = 0.2) -> Double {
        guard let before else { return value }
        return before + alpha * (value - before)
    }

    func clamped(_ low: Double = 0, _ high: Double = 1) -> Double { Swift.min(Swift.max(self, low), high) }
}
