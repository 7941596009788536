import Catalog
import Logging
import OpenAI
import Redis
import Server
import Testing

@Suite(.serialized) struct QuotaTests {
    private static func request(_ number: Int, _ quota: KeyQuota?, estimate: Int = 10, endpoint: ID<Endpoint> = LimiterTests.endpoint)
        -> LimitRequest
    {
        LimitRequest(
            requestID: "req_\(number)", endpointID: endpoint, keyID: LimiterTests.key, requestsPerMinute: nil, tokensPerMinute: nil,
            burstFloor: 3, concurrent: 100_000, tokenEstimate: estimate, quota: quota)
    }

    private static func error(_ decision: LimitDecision) -> APIError? {
        if case .refused(let error, _) = decision { error } else { nil }
    }

    @Test func aQuotaHoldsOverAllEndpointsAndGatewaysAndSlides() async throws {
        try await onThread {
            let server = try RedisServer()
            let clock = LimiterTests.TestClock()
            let limiters = [LimiterTests.limiter(server, clock: clock), LimiterTests.limiter(server, clock: clock)]
            defer { limiters.forEach { $0.stop() } }
            let quota = KeyQuota(requests: 10, windowSeconds: 60)
            for number in 0..<10 {
                let endpoint = number.isMultiple(of: 3) ? ID<Endpoint>.random() : LimiterTests.endpoint
                guard case .admitted(let readings) = limiters[number % 2].admit(Self.request(number, quota, endpoint: endpoint)) else {
                    return #expect(Bool(false), "refused")
                }
                #expect(readings.requests == LimitReading(limit: 10, remaining: 9 - number, resetSeconds: 60))
            }
            let error = try #require(Self.error(limiters[0].admit(Self.request(10, quota))))
            #expect(error.code == .quotaExceeded && error.strategy == .quota && error.retryAfter == 61)
            clock.advance(60_999_999)
            #expect(Self.error(limiters[1].admit(Self.request(11, quota)))?.retryAfter == 1)
            clock.advance(1)
            #expect(Self.error(limiters[1].admit(Self.request(12, quota))) == nil)
            // Without a quota the key goes on, and a refused request took nothing.
            #expect(Self.error(limiters[0].admit(Self.request(13, nil))) == nil)
        }
    }

    @Test func theScriptDecidesAsTheWindowDoes() async throws {
        try await onThread {
            let server = try RedisServer()
            let clock = LimiterTests.TestClock()
            let limiter = LimiterTests.limiter(server, clock: clock)
            defer { limiter.stop() }
            let quota = KeyQuota(requests: 20, windowSeconds: 60, tokens: 1_000)
            var window = QuotaWindow(quota)
            var outcomes: [String: Int] = [:]
            for number in 0..<600 {
                clock.advance(Int.random(in: 0..<1_500_000))
                let tokens = Int.random(in: 1..<150)
                let obstacle = window.obstacle(tokens: tokens, now: clock.read())
                let request = Self.request(number, quota, estimate: tokens)
                let error = Self.error(limiter.admit(request))
                try #require((error == nil) == (obstacle == nil), "\(number)")
                outcomes[error?.code.name ?? "admitted", default: 0] += 1
                if obstacle != nil {
                    let wait = window.reading(obstacle, tokens: tokens, now: clock.read()).waitMicroseconds
                    #expect(error?.retryAfter == max(1, (wait + 999_999) / 1_000_000))
                } else {
                    window.add(requests: 1, tokens: tokens, now: clock.read())
                    let actual = Int.random(in: 0..<150)
                    limiter.finish(request, actualTokens: actual)
                    window.add(requests: 0, tokens: actual - tokens, now: clock.read())
                }
            }
            #expect(outcomes["admitted", default: 0] > 50 && outcomes["quota_exceeded", default: 0] > 50)
        }
    }

    @Test func withoutRedisEachGatewayCountsItsShare() async throws {
        try await onThread {
            let server = try RedisServer()
            let clock = LimiterTests.TestClock()
            let limiter = LimiterTests.limiter(server, gateways: 2, clock: clock)
            defer { limiter.stop() }
            server.stop()
            let quota = KeyQuota(requests: 10, windowSeconds: 60)
            for number in 0..<5 { #expect(Self.error(limiter.admit(Self.request(number, quota))) == nil) }
            #expect(Self.error(limiter.admit(Self.request(5, quota)))?.code == .quotaExceeded)
            #expect(Self.error(limiter.admit(Self.request(6, nil))) == nil)
            clock.advance(61_000_000)
            #expect(Self.error(limiter.admit(Self.request(7, quota))) == nil)
        }
    }
}
