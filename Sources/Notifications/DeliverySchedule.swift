/// When an event is sent again (08 §11).
public enum DeliverySchedule {
    /// Seconds between an attempt and the next one.
    static let pauses: [Double] = [5, 300, 1_800, 7_200, 18_000]
    static let attempts = pauses.count + 1
    static let jitter = 0.2
    static let longestRetryAfter = 18_000.0
    /// With failures alone for so long a webhook is switched off.
    static let failingSeconds = 5 * 86_400.0

    /// Seconds until the next attempt, before the time scale; nil = there is none.
    /// - Parameters:
    ///   - attempt: the one that has failed, from 1.
    ///   - retryAfter: what the server asked for with 429 or 503.
    ///   - chance: from 0 to 1.
    public static func pause(after attempt: Int, retryAfter: Double?, chance: Double) -> Double? {
        guard attempt >= 1, attempt <= pauses.count else { return nil }
        if let retryAfter { return min(max(0, retryAfter), longestRetryAfter) }
        return pauses[attempt - 1] * (1 + jitter * (2 * chance - 1))
    }
}
