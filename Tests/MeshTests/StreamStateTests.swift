import Mesh
import Testing

@Suite struct LeaseTests {
    @Test func silenceMakesAnAgentSuspectThenDisconnectedThenDead() {
        let lease = Lease(at: 100)
        for (now, state) in [
            (100, .live), (114.9, .live), (115, .suspect), (129.9, .suspect), (130, .disconnected), (86_499, .disconnected),
            (86_500, .dead),
        ] as [(Double, Lease.State)] {
            #expect(lease.state(at: now) == state, "\(now)")
        }
        #expect([100, 115, 130, 86_500].map { lease.nextChange(after: $0) } == [115, 130, 86_500, nil])
        #expect(lease.end == 130)
    }

    @Test func anyFrameIsLifeAndALostConnectionIsSuspectAtOnce() {
        var lease = Lease(at: 100)
        lease.heard(at: 110)
        #expect(lease.state(at: 124) == .live)
        lease.connectionLost()
        #expect(lease.state(at: 111) == .suspect && lease.state(at: 140) == .disconnected)
        lease.heard(at: 141)
        #expect(lease.state(at: 141) == .live)
        // A frame that was read late does not turn the clock back.
        lease.heard(at: 120)
        #expect(lease.end == 171)
    }

    @Test func testsCanShortenIt() {
        #expect(Lease(Lease.Limits(timeScale: 0.1), at: 0).state(at: 3) == .disconnected)
    }
}

@Suite struct CreditTests {
    @Test func aStreamStopsWithoutCreditsAndGoesOnWithThem() {
        var credits = AgentCredits()
        credits.begin("a", credits: 2)
        for _ in 0..<2 {
            #expect(credits.maySend("a"))
            credits.sent("a", bytes: 100)
        }
        #expect(!credits.maySend("a") && !credits.maySend("unknown"))
        credits.returned(Credit(chunks: 1, bytes: 100), to: "a")
        #expect(credits.maySend("a") && credits.unackedChunks == 1 && credits.unackedBytes == 100)
        credits.end("a")
        #expect(!credits.maySend("a") && credits.unackedChunks == 0 && credits.unackedBytes == 0)
    }

    @Test func creditsThatWereNeverOwedAreWorthNothing() {
        var credits = AgentCredits()
        credits.begin("a", credits: 1)
        credits.returned(Credit(chunks: 4_096, bytes: 1 << 20), to: "a")
        credits.sent("a", bytes: 10)
        credits.returned(Credit(chunks: 4_096, bytes: 1 << 20), to: "a")
        credits.returned(Credit(chunks: 1, bytes: 1), to: "gone")
        #expect(credits.maySend("a") && credits.unackedChunks == 0 && credits.unackedBytes == 0)
        credits.sent("a", bytes: 10)
        #expect(!credits.maySend("a"))
    }

    @Test func allStreamsTogetherAreBoundedInChunksAndBytes() {
        var credits = AgentCredits()
        for stream in 0..<100 {
            credits.begin("\(stream)", credits: 64)
            while credits.maySend("\(stream)") { credits.sent("\(stream)", bytes: 1) }
        }
        #expect(credits.unackedChunks == AgentCredits.mostChunks)
        credits.end("0")
        #expect(credits.maySend("99"))

        var large = AgentCredits()
        for stream in 0..<100 {
            large.begin("\(stream)", credits: 64)
            while large.maySend("\(stream)") { large.sent("\(stream)", bytes: Chunk.dataLength) }
        }
        #expect(large.unackedBytes == AgentCredits.mostBytes)
    }

    @Test func creditsGoBackWhenHalfOfTheWindowIsOwed() {
        var returns = CreditReturns(window: 64)
        for turn in 1...3 {
            for _ in 1..<32 { #expect(returns.flushed(bytes: 10) == nil) }
            #expect(returns.flushed(bytes: 20) == Credit(chunks: 32, bytes: 330), "\(turn)")
        }
        var odd = CreditReturns(window: 9)
        #expect((0..<4).allSatisfy { _ in odd.flushed(bytes: 0) == nil })
        #expect(odd.flushed(bytes: 0) == Credit(chunks: 5, bytes: 0))
    }
}

@Suite struct FrameOrderTests {
    @Test func framesOfThePresentAttemptComeOnceAndInOrder() {
        var order = FrameOrder(attempt: 1)
        #expect((0..<3).map { order.judge(attempt: 1, sequence: $0) } == [.next, .next, .next])
        #expect(order.judge(attempt: 1, sequence: 1) == .late)
        #expect(order.judge(attempt: 0, sequence: 9) == .late)
        #expect(order.judge(attempt: 1, sequence: 4) == .broken)
        #expect(order.judge(attempt: 2, sequence: 0) == .broken)
        #expect(order.judge(attempt: 1, sequence: 3) == .next)
        order.begin(attempt: 2)
        #expect(order.judge(attempt: 1, sequence: 4) == .late)
        #expect(order.judge(attempt: 2, sequence: 0) == .next)
    }
}
