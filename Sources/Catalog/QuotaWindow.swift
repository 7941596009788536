import OpenAI
import Server

/// What a key has used of its quota, and when there will be room again.
package struct QuotaReading: Sendable, Equatable {
    /// Until the refused request would be let in; 0 when it was.
    package let waitMicroseconds: Int
    /// Used in the window before this request.
    package let requests: Int
    package let tokens: Int

    package init(waitMicroseconds: Int, requests: Int, tokens: Int) {
        self.waitMicroseconds = waitMicroseconds
        self.requests = requests
        self.tokens = tokens
    }

    /// The readings that a client sees: of each counter the one that leaves it least (04 §6).
    func lowered(_ readings: LimitReadings, _ quota: KeyQuota) -> LimitReadings {
        var lower = readings
        let isAdmitted = waitMicroseconds == 0
        let left = max(0, quota.requests - requests - (isAdmitted ? 1 : 0))
        if left < lower.requests.remaining {
            lower.requests = LimitReading(limit: quota.requests, remaining: left, resetSeconds: quota.windowSeconds)
        }
        if let limit = quota.tokens, max(0, limit - max(0, tokens)) < lower.tokens.remaining {
            lower.tokens = LimitReading(limit: limit, remaining: max(0, limit - max(0, tokens)), resetSeconds: quota.windowSeconds)
        }
        return lower
    }
}

/// A sliding window, counted in sixty slices: a slice counts until it lies wholly outside, so no window ever holds more than the quota, and room
/// comes back at most a sixtieth of the window late. `QuotaScript` does the same inside Redis; a test holds them together.
package struct QuotaWindow: Sendable {
    private static let slices = 60
    /// The present slice, and those of which some part still lies in the window.
    private static let counted = slices + 1

    private struct Use {
        var requests = 0
        var tokens = 0
    }

    package let quota: KeyQuota
    /// By the number of their slice since 1970.
    private var uses: [Int: Use] = [:]

    package init(_ quota: KeyQuota) { self.quota = quota }

    /// Microseconds.
    private var slice: Int { Self.length(quota) }
    static func length(_ quota: KeyQuota) -> Int { quota.windowSeconds * 1_000_000 / slices }

    /// What stands in the way of one more request of so many tokens. Who asks for more tokens than the quota holds needs all of it.
    package func obstacle(tokens: Int, now: Int) -> LimitObstacle? {
        let used = total(now: now)
        if used.requests + 1 > quota.requests { return .quotaRequests }
        if let limit = quota.tokens, max(0, used.tokens) + min(tokens, limit) > limit { return .quotaTokens }
        return nil
    }

    package func reading(_ obstacle: LimitObstacle?, tokens: Int, now: Int) -> QuotaReading {
        let used = total(now: now)
        let wait =
            switch obstacle {
            case .quotaRequests: wait(for: used.requests + 1 - quota.requests, of: \.requests, now: now)
            case .quotaTokens:
                wait(for: max(0, used.tokens) + min(tokens, quota.tokens ?? 0) - (quota.tokens ?? 0), of: \.tokens, now: now)
            default: 0
            }
        return QuotaReading(waitMicroseconds: wait, requests: used.requests, tokens: used.tokens)
    }

    package mutating func add(requests: Int, tokens: Int, now: Int) {
        uses = uses.filter { $0.key > now / slice - Self.counted }
        uses[now / slice, default: Use()].requests += requests
        uses[now / slice, default: Use()].tokens += tokens
    }

    package func isEmpty(now: Int) -> Bool { uses.keys.allSatisfy { $0 <= now / slice - Self.counted } }

    private func total(now: Int) -> Use {
        uses.filter { $0.key > now / slice - Self.counted }.values.reduce(into: Use()) {
            $0.requests += $1.requests
            $0.tokens += $1.tokens
        }
    }

    /// Until so much has left the window.
    private func wait(for excess: Int, of part: KeyPath<Use, Int>, now: Int) -> Int {
        var left = excess
        for (number, use) in uses.filter({ $0.key > now / slice - Self.counted }).sorted(by: { $0.key < $1.key }) {
            left -= use[keyPath: part]
            if left <= 0 { return (number + Self.counted) * slice - now }
        }
        return Self.counted * slice
    }
}
