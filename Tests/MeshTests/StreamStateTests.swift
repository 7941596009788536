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
        credits.begin("a", StreamWindow(credits: 2))
        for _ in 0..<2 {
            #expect(credits.maySend("a", bytes: 100))
            credits.sent("a", bytes: 100)
        }
        #expect(!credits.maySend("a", bytes: 0) && !credits.maySend("unknown", bytes: 0))
        credits.returned(Credit(chunks: 1, bytes: 100), to: "a")
        #expect(credits.maySend("a", bytes: 100) && credits.unackedChunks == 1 && credits.unackedBytes == 100)
        credits.end("a")
        #expect(!credits.maySend("a", bytes: 0) && credits.unackedChunks == 0 && credits.unackedBytes == 0)
    }

    @Test func creditsThatWereNeverOwedAreWorthNothing() {
        var credits = AgentCredits()
        credits.begin("a", StreamWindow(credits: 1))
        credits.returned(Credit(chunks: 4_096, bytes: 1 << 20), to: "a")
        credits.sent("a", bytes: 10)
        credits.returned(Credit(chunks: 4_096, bytes: 1 << 20), to: "a")
        credits.returned(Credit(chunks: 1, bytes: 1), to: "gone")
        #expect(credits.maySend("a", bytes: 0) && credits.unackedChunks == 0 && credits.unackedBytes == 0)
        credits.sent("a", bytes: 10)
        #expect(!credits.maySend("a", bytes: 0))
    }

    @Test func aStreamHas64ChunksOrOneMiBAndFewerWhereThereAreMorePlaces() {
        #expect([0, 1, 64].map { StreamWindow(places: $0) } == Array(repeating: StreamWindow(credits: 64), count: 3))
        #expect(StreamWindow(places: 64).bytes == 1 << 20 && StreamWindow(places: 64).chunkLength == Chunk.dataLength)
        #expect([65, 128, 2_000, 4_096, 10_000].map { StreamWindow(places: $0).chunks } == [63, 32, 2, 1, 1])
        for places in 1...4_096 {
            let window = StreamWindow(places: places)
            #expect(window.chunks * places <= StreamWindow.mostChunks && window.bytes * places <= StreamWindow.mostBytes)
        }
    }

    /// Clients that read nothing keep what is theirs, and nobody else's.
    @Test(arguments: [2, 64, 101, 2_000, 4_096]) func whoeverReadsNothingKeepsNobodyElseFromSending(places: Int) {
        let window = StreamWindow(places: places)
        for length in [1, window.chunkLength] {
            var credits = AgentCredits()
            for stream in 0..<places {
                credits.begin("\(stream)", window)
                #expect(credits.maySend("\(stream)", bytes: length), "\(stream) of \(places)")
                while credits.maySend("\(stream)", bytes: length) { credits.sent("\(stream)", bytes: length) }
            }
            #expect(credits.unackedChunks <= StreamWindow.mostChunks && credits.unackedBytes <= StreamWindow.mostBytes)
        }
    }

    /// Whatever the window and the lengths of chunks: all is read at once, so the agent never waits for credits that are not sent.
    @Test(arguments: [1, 2, 3, 7, 8, 9, 64]) func aReaderThatReadsNeverLeavesItsAgentWithoutCredits(credits count: Int) {
        let window = StreamWindow(credits: count)
        var generator = SystemRandomNumberGenerator()
        var (credits, returns) = (AgentCredits(), CreditReturns(window))
        credits.begin("a", window)
        for _ in 0..<2_000 {
            let length = Bool.random(using: &generator) ? Int.random(in: 0...window.chunkLength, using: &generator) : window.chunkLength
            #expect(credits.maySend("a", bytes: length))
            credits.sent("a", bytes: length)
            if let credit = returns.flushed(bytes: length) { credits.returned(credit, to: "a") }
        }
    }

    @Test func creditsGoBackWhenHalfOfTheWindowIsOwed() {
        var returns = CreditReturns(StreamWindow(credits: 64))
        for turn in 1...3 {
            for _ in 1..<32 { #expect(returns.flushed(bytes: 10) == nil) }
            #expect(returns.flushed(bytes: 20) == Credit(chunks: 32, bytes: 330), "\(turn)")
        }
        for _ in 1..<8 { #expect(returns.flushed(bytes: 64 << 10) == nil) }
        #expect(returns.flushed(bytes: 64 << 10) == Credit(chunks: 8, bytes: 512 << 10))
        var odd = CreditReturns(StreamWindow(credits: 9))
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
