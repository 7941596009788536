import Foundation
import Testing
import Threads

@Suite struct MonitorTests {
    @Test func changesOfManyThreadsAreNotLost() async throws {
        try await onThread {
            let sum = Monitor(0)
            onThreads(16) { _ in for _ in 0..<2_000 { sum.withLock { $0 += 1 } } }
            #expect(sum.withLock { $0 } == 32_000)
        }
    }

    @Test func aChangeWakesEverybodyWhoWaits() async throws {
        try await onThread {
            let state = Monitor((isOpen: false, woken: 0))
            startThread("opener") {
                usleep(50_000)
                state.change { $0.isOpen = true }
            }
            onThreads(10) { _ in state.wait(while: { !$0.isOpen }, then: { $0.woken += 1 }) }
            #expect(state.withLock { $0.woken } == 10)
        }
    }

    @Test func aWaitEndsInTime() async throws {
        try await onThread {
            let never = Monitor(true)
            let start = ContinuousClock.now
            #expect(never.wait(atMost: 0.05, while: { $0 }, then: { $0 }))
            let waited = ContinuousClock.now - start
            #expect(waited >= .milliseconds(50) && waited < .seconds(5))
            // Without time, or with less, it looks once.
            for limit in [0, -1, -Double.infinity] { #expect(never.wait(atMost: limit, while: { $0 }, then: { $0 })) }
            #expect(!never.wait(atMost: .infinity, while: { !$0 }, then: { !$0 }))
        }
    }

    @Test func anErrorLeavesTheLockFree() async throws {
        try await onThread {
            let state = Monitor(1)
            #expect(throws: CancellationError.self) { try state.withLock { _ in throw CancellationError() } }
            #expect(throws: CancellationError.self) { try state.change { _ in throw CancellationError() } }
            #expect(throws: CancellationError.self) { try state.wait(while: { _ in false }, then: { _ in throw CancellationError() }) }
            #expect(state.withLock { $0 } == 1)
        }
    }
}
