import Catalog
import OpenAI
import Server
import Testing

@Suite struct QuotaWindowTests {
    private static let second = 1_000_000
    private static let start = 1_800_000_000 * second

    @Test func noWindowEverHoldsMoreThanTheQuota() {
        var window = QuotaWindow(KeyQuota(requests: 20, windowSeconds: 60))
        var generator = SystemRandomNumberGenerator()
        var now = Self.start
        var admitted: [Int] = []
        for _ in 0..<3_000 {
            now += Int.random(in: 0..<3 * Self.second, using: &generator)
            guard window.obstacle(tokens: 0, now: now) == nil else { continue }
            window.add(requests: 1, tokens: 0, now: now)
            admitted.append(now)
            #expect(admitted.filter { $0 > now - 60 * Self.second }.count <= 20)
        }
        // Room comes back: the quota is used up again and again.
        #expect(admitted.count > 20 * (now - Self.start) / (62 * Self.second) - 40)
    }

    @Test func whoWaitsAsToldIsLetIn() {
        var window = QuotaWindow(KeyQuota(requests: 2, windowSeconds: 60, tokens: 100))
        window.add(requests: 1, tokens: 60, now: Self.start)
        #expect(window.obstacle(tokens: 50, now: Self.start) == .quotaTokens && window.obstacle(tokens: 40, now: Self.start) == nil)
        let later = Self.start + 10 * Self.second
        window.add(requests: 1, tokens: 30, now: later)
        #expect(window.obstacle(tokens: 1, now: later) == .quotaRequests)
        let wait = window.reading(.quotaRequests, tokens: 1, now: later).waitMicroseconds
        #expect(wait == 51 * Self.second)
        #expect(window.obstacle(tokens: 1, now: later + wait - 1) == .quotaRequests && window.obstacle(tokens: 1, now: later + wait) == nil)
    }

    @Test func whoAsksForMoreThanTheQuotaNeedsAllOfIt() {
        var window = QuotaWindow(KeyQuota(requests: 9, windowSeconds: 60, tokens: 100))
        #expect(window.obstacle(tokens: 5_000, now: Self.start) == nil)
        window.add(requests: 1, tokens: 1, now: Self.start)
        #expect(window.obstacle(tokens: 5_000, now: Self.start) == .quotaTokens)
        // Less was used than thought.
        window.add(requests: 0, tokens: -1, now: Self.start)
        #expect(window.obstacle(tokens: 5_000, now: Self.start) == nil)
    }
}
