import Routing
import Testing

@Suite struct CircuitBreakerTests {
    private func open(at now: Instant) -> CircuitBreaker {
        var breaker = CircuitBreaker()
        for _ in 0..<5 {
            #expect(breaker.allows(at: now))
            breaker.began()
            breaker.failed(at: now)
        }
        return breaker
    }

    @Test func fiveFaultsInARowOpenItForTenSeconds() {
        let breaker = open(at: 100)
        #expect(!breaker.allows(at: 100) && !breaker.allows(at: 109.9))
        #expect(breaker.allows(at: 110))
        #expect(breaker.opensAgainAt == 110)
    }

    @Test func aSuccessBetweenStartsTheCountAgain() {
        var breaker = CircuitBreaker()
        for _ in 0..<4 { breaker.failed(at: 0) }
        breaker.succeeded()
        for _ in 0..<4 { breaker.failed(at: 0) }
        #expect(breaker.allows(at: 0))
    }

    @Test func oneTrialRunsAtATimeAndItsSuccessCloses() {
        var breaker = open(at: 100)
        breaker.began()
        #expect(!breaker.allows(at: 111) && !breaker.allows(at: 1_000))
        breaker.succeeded()
        #expect(breaker.allows(at: 111))
        #expect(breaker == CircuitBreaker())
    }

    @Test func aFailedTrialDoublesTheWaitUpToFiveMinutes() {
        var breaker = open(at: 0)
        var now: Instant = 10
        for wait: Double in [20, 40, 80, 160, 300, 300] {
            #expect(breaker.allows(at: now))
            breaker.began()
            breaker.failed(at: now)
            #expect(!breaker.allows(at: now + wait - 0.1))
            now += wait
        }
        #expect(breaker.allows(at: now))
    }

    @Test func aTrialThatSaysNothingLeavesRoomForTheNext() {
        var breaker = open(at: 0)
        breaker.began()
        breaker.endedWithoutNews()
        #expect(breaker.allows(at: 10))
    }

    @Test func faultsOfRequestsThatWereUnderWayDoNotLengthenTheWait() {
        var breaker = open(at: 0)
        breaker.failed(at: 9)
        #expect(breaker.allows(at: 10))
    }
}
