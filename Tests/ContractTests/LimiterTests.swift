import Catalog
import Logging
import Foundation
import OpenAI
import Redis
import Server
import Synchronization
import Testing

@Suite(.serialized) struct LimiterTests {
    static let endpoint = ID<Endpoint>.random()
    static let key = ID<APIKey>.random()

    static func request(
        _ number: Int = 0, perMinute: Int? = 64, tokens: Int? = 1_000_000, floor: Int = 3, concurrent: Int = 1000, estimate: Int = 10
    ) -> LimitRequest {
        LimitRequest(
            requestID: "req_\(number)", endpointID: endpoint, keyID: key, requestsPerMinute: perMinute, tokensPerMinute: tokens,
            burstFloor: floor, concurrent: concurrent, tokenEstimate: estimate)
    }

    /// Microseconds that stand still until a test moves them.
    final class TestClock: Sendable {
        let now = Atomic(1_800_000_000_000_000)
        func advance(_ microseconds: Int) { now.add(microseconds, ordering: .relaxed) }
        var read: @Sendable () -> Int { { self.now.load(ordering: .relaxed) } }
    }

    static func limiter(_ server: RedisServer, gateways: Int = 1, clock: TestClock? = nil, timeScale: Double = 1) -> RateLimiter {
        RateLimiter(
            redis: RedisPool(socket: server.socket, size: 4), gateways: gateways, timeScale: timeScale, clock: clock?.read,
            logger: Logger(label: "test"))
    }

    @Test func aBurstOf96PassesAndThe97thIsRefused() async throws {
        try await onThread {
            let server = try RedisServer()
            let clock = TestClock()
            let limiter = Self.limiter(server, clock: clock)
            defer { limiter.stop() }
            for number in 0..<96 { #expect(limiter.admit(Self.request(number)).isAdmitted) }
            guard case .refused(let error, let readings) = limiter.admit(Self.request(96)) else { return #expect(Bool(false), "admitted") }
            #expect(error.code == .rateLimitExceeded && error.retryAfter == 1 && error.message.contains("64 requests per minute"))
            #expect(error.strategy == .rate(refillMilliseconds: 938))
            #expect(readings.requests == LimitReading(limit: 64, remaining: 0, resetSeconds: 90))
            clock.advance(937_499)
            #expect(!limiter.admit(Self.request(97)).isAdmitted)
            clock.advance(1)
            #expect(limiter.admit(Self.request(98)).isAdmitted)
            for number in 100..<3800 {
                clock.advance(937_500)
                #expect(limiter.admit(Self.request(number, concurrent: 100_000)).isAdmitted)
            }
        }
    }

    @Test func twoGatewaysShareTheLimits() async throws {
        try await onThread {
            let server = try RedisServer()
            let clock = TestClock()
            let limiters = [Self.limiter(server, gateways: 2, clock: clock), Self.limiter(server, gateways: 2, clock: clock)]
            let admitted = Atomic(0)
            onThreads(8) { thread in
                for number in 0..<40 where limiters[thread % 2].admit(Self.request(thread * 100 + number)).isAdmitted {
                    admitted.add(1, ordering: .relaxed)
                }
            }
            #expect(admitted.load(ordering: .relaxed) == 96)
            limiters.forEach { $0.stop() }
        }
    }

    @Test func fiveRunAtOnceAndASlotFreesAtTheEnd() async throws {
        try await onThread {
            let server = try RedisServer()
            let limiter = Self.limiter(server)
            defer { limiter.stop() }
            let requests = (0..<6).map { Self.request($0, concurrent: 5) }
            #expect(requests[..<5].allSatisfy { limiter.admit($0).isAdmitted })
            guard case .refused(let error, _) = limiter.admit(requests[5]) else { return #expect(Bool(false), "admitted") }
            #expect(error.code == .concurrencyExceeded && error.retryAfter == 1 && error.strategy == .concurrency)
            limiter.finish(requests[2], actualTokens: 10)
            #expect(limiter.admit(requests[5]).isAdmitted)
        }
    }

    @Test func aLostLeaseFreesItsSlotAndALongRequestKeepsIts() async throws {
        try await onThread {
            let server = try RedisServer()
            // Leases of 1.2 s, renewed every 0.4 s.
            let running = Self.limiter(server, timeScale: 0.02)
            #expect(running.admit(Self.request(1, concurrent: 1)).isAdmitted)
            let other = Self.limiter(server, timeScale: 0.02)
            usleep(2_000_000)
            #expect(!other.admit(Self.request(2, concurrent: 1)).isAdmitted)
            running.stop()
            #expect(eventually { other.admit(Self.request(2, concurrent: 1)).isAdmitted })
            other.stop()
        }
    }

    @Test func tokensAreTakenInAdvanceAndCorrected() async throws {
        try await onThread {
            let server = try RedisServer()
            let clock = TestClock()
            let limiter = Self.limiter(server, clock: clock)
            defer { limiter.stop() }
            func admit(_ number: Int, _ estimate: Int) -> LimitReadings? {
                if case .admitted(let readings) = limiter.admit(Self.request(number, tokens: 600, estimate: estimate)) {
                    readings
                } else {
                    nil
                }
            }
            #expect(admit(1, 500)?.tokens == LimitReading(limit: 600, remaining: 400, resetSeconds: 50))
            #expect(admit(2, 500) == nil)
            limiter.finish(Self.request(1, tokens: 600, estimate: 500), actualTokens: 100)
            #expect(admit(3, 500)?.tokens.remaining == 300)
            // Far more than estimated: the bucket goes to one minute below zero, no further.
            limiter.finish(Self.request(3, tokens: 600, estimate: 500), actualTokens: 1_000_000)
            #expect(admit(4, 1) == nil)
            clock.advance(60_000_000)
            #expect(admit(5, 1) == nil)
            clock.advance(100_000)
            #expect(admit(6, 1) != nil)
            // An estimate above the capacity passes on a full bucket.
            clock.advance(1_000_000_000)
            #expect(admit(7, 50_000) != nil)
        }
    }

    @Test func anUncappedTierIsCountedAndNeverRefused() async throws {
        try await onThread {
            let server = try RedisServer()
            let limiter = Self.limiter(server, clock: TestClock())
            defer { limiter.stop() }
            for number in 0..<300 {
                let decision = limiter.admit(Self.request(number, perMinute: nil, tokens: nil, estimate: 5_000_000))
                guard case .admitted(let readings) = decision else { return #expect(Bool(false), "refused") }
                #expect(readings == LimitReadings(requests: .unlimited, tokens: .unlimited))
            }
            let keys = try RedisPool(socket: server.socket, size: 1).withConnection { try $0.command(["KEYS", "*"]) }.array ?? []
            #expect(keys.count == 2 && keys.allSatisfy { $0.string?.hasPrefix("xerotier:") == true })
        }
    }

    @Test func everyKeyExpires() async throws {
        try await onThread {
            let server = try RedisServer()
            let limiter = Self.limiter(server)
            defer { limiter.stop() }
            #expect(limiter.admit(Self.request(1)).isAdmitted)
            try RedisPool(socket: server.socket, size: 1).withConnection { connection in
                for key in try connection.command(["KEYS", "*"]).array ?? [] {
                    let left = try connection.command(["PTTL", .string(key.string ?? "")]).integer ?? -1
                    #expect(left > 500 && left <= 180_000)
                }
            }
        }
    }

    @Test func withoutRedisEachProcessHoldsItsShareAndRedisIsUsedAgainWhenItReturns() async throws {
        try await onThread {
            let server = try RedisServer()
            let limiter = Self.limiter(server, gateways: 2)
            defer { limiter.stop() }
            #expect(limiter.admit(Self.request(0, concurrent: 100)).isAdmitted)
            server.stop()
            let start = ContinuousClock.now
            let admitted = (1...100).filter { limiter.admit(Self.request($0, concurrent: 100)).isAdmitted }
            #expect(admitted.count == 48 && ContinuousClock.now - start < .seconds(5))
            admitted.forEach { limiter.finish(Self.request($0, concurrent: 100), actualTokens: 10) }
            #expect(limiter.admit(Self.request(200, perMinute: nil, concurrent: 5)).isAdmitted)
            #expect(!limiter.admit(Self.request(201, perMinute: nil, concurrent: 5)).isAdmitted)
            limiter.finish(Self.request(0, concurrent: 100), actualTokens: 10)
            try server.start()
            let pool = RedisPool(socket: server.socket, size: 1)
            #expect(
                eventually {
                    _ = limiter.admit(Self.request(300))
                    limiter.finish(Self.request(300), actualTokens: 10)
                    return (try? pool.withConnection { try $0.command(["KEYS", "*limit*"]) }.array?.isEmpty) == false
                })
        }
    }

    @Test func theScriptDoesWhatTheModelSays() async throws {
        try await onThread {
            let server = try RedisServer()
            let rates: [Int?] = [nil, 1, 7, 64, 1000, 500_000, 77_777_777]
            for round in 0..<40 {
                let clock = TestClock()
                // Leases that outlast the test: the model has none.
                let limiter = Self.limiter(server, clock: clock, timeScale: 1000)
                let endpoint = ID<Endpoint>.random()
                let (perMinute, perMinuteTokens) = (rates.randomElement() ?? 1, rates.randomElement() ?? 1)
                let (floor, concurrent) = (Int.random(in: 0...12), Int.random(in: 1...8))
                var buckets: LimitBuckets?
                var running: [LimitRequest] = []
                for step in 0..<150 {
                    clock.advance([0, 1, 999, 100_000, 3_000_000, 30_000_000].randomElement() ?? 0)
                    if Bool.random() || running.isEmpty {
                        var request = Self.request(
                            step, perMinute: perMinute, tokens: perMinuteTokens, floor: floor, concurrent: concurrent,
                            estimate: Int.random(in: 0...3000))
                        request.endpointID = endpoint
                        let terms = LimitTerms(request)
                        var model = buckets ?? LimitBuckets(terms, now: clock.read())
                        let obstacle = model.admit(terms, running: running.count, now: clock.read())
                        buckets = model
                        let decision = limiter.admit(request)
                        #expect(decision.isAdmitted == (obstacle == nil), "round \(round) step \(step)")
                        #expect(
                            decision.readings == terms.decision(obstacle, requestLevel: model.requests, tokenLevel: model.tokens).readings)
                        if obstacle == nil { running.append(request) }
                        // The bucket of a request that was refused is stored only by the next one admitted; the model may be ahead in time, not in level.
                    } else {
                        let request = running.remove(at: Int.random(in: 0..<running.count))
                        let actual = Int.random(in: 0...4000)
                        buckets?.correct(LimitTerms(request), actualTokens: actual, now: clock.read())
                        limiter.finish(request, actualTokens: actual)
                    }
                }
                running.forEach { limiter.finish($0, actualTokens: 0) }
                limiter.stop()
            }
        }
    }
}

extension LimitDecision {
    fileprivate var isAdmitted: Bool { if case .admitted = self { true } else { false } }
    fileprivate var readings: LimitReadings {
        switch self {
        case .admitted(let readings), .refused(_, let readings): readings
        }
    }
}
