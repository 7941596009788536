import Foundation
import Synchronization
import Testing
import Threads

@Suite struct GatheringTests {
    @Test func everyPieceIsDoneOnceInRoundsThatNeverOverlap() async throws {
        try await onThread {
            let rounds = Atomic(0)
            let done = Atomic(0)
            let running = Atomic(0)
            let worst = Atomic(0)
            let gathering = Gathering<Int, Int>(most: 8) { works in
                if running.add(1, ordering: .relaxed).newValue > 1 || works.count > 8 { worst.add(1, ordering: .relaxed) }
                usleep(200)
                rounds.add(1, ordering: .relaxed)
                done.add(works.count, ordering: .relaxed)
                running.subtract(1, ordering: .relaxed)
                return works.map { $0 * 2 }
            }
            let wrong = Atomic(0)
            onThreads(32) { thread in
                for number in 0..<100 {
                    let work = thread * 1000 + number
                    if gathering.answer(of: gathering.add(work)) != work * 2 { wrong.add(1, ordering: .relaxed) }
                }
            }
            #expect(wrong.load(ordering: .relaxed) == 0 && worst.load(ordering: .relaxed) == 0)
            #expect(done.load(ordering: .relaxed) == 3200)
            #expect(rounds.load(ordering: .relaxed) < 3200)
        }
    }

    @Test func whatNobodyWaitsForGoesWithTheNextRound() async throws {
        try await onThread {
            let seen = Mutex<[[String]]>([])
            let gathering = Gathering<String, Bool>(most: 100) { works in
                seen.withLock { $0.append(works) }
                return works.map { _ in true }
            }
            let early = gathering.add("early")
            #expect(gathering.answer(of: gathering.add("late")))
            #expect(seen.withLock { $0 } == [["early", "late"]])
            #expect(gathering.answer(of: early))
            #expect(seen.withLock { $0 }.count == 1)
        }
    }
}
