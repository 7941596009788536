import Foundation
import Server
import Testing
import Threads

@Suite struct FreshCacheTests {
    struct Away: Error {}

    /// A source of values whose reads are counted, and a clock that stands still until it is moved.
    final class Bench: Sendable {
        struct State {
            var now = ContinuousClock.now
            var values: [String: String] = ["a": "1"]
            var isAway = false
            var reads: [String] = []
            /// Reads wait while this is true.
            var isHeld = false
            var waiting = 0
        }

        let state = Monitor(State())
        let cache: FreshCache<String, String>

        init(capacity: Int = 100) {
            let state = state
            cache = FreshCache(capacity: capacity, now: { state.withLock { $0.now } }) { key in
                // The value is of the moment at which the read began.
                let value = state.change { state in
                    state.reads.append(key)
                    state.waiting += 1
                    return state.values[key]
                }
                return try state.wait(while: { $0.isHeld }) { state in
                    state.waiting -= 1
                    if state.isAway { throw Away() }
                    return value
                }
            }
        }

        func pass(_ time: Duration) { state.change { $0.now += time } }
        func set(_ value: String?, for key: String = "a") { state.change { $0.values[key] = value } }
        var reads: Int { state.withLock { $0.reads.count } }

        /// Starts reads on threads of their own; the answers come in any order.
        func startReading(_ key: String, threads: Int = 1) -> Monitor<[String?]> {
            let answers = Monitor<[String?]>([])
            for _ in 0..<threads {
                startThread("reader") {
                    let value = try? self.cache.value(for: key)
                    answers.change { $0.append(value) }
                }
            }
            return answers
        }
    }

    @Test func aFreshValueIsNotReadAgain() throws {
        let bench = Bench()
        #expect(try bench.cache.value(for: "a") == "1")
        bench.set("2")
        bench.pass(.milliseconds(999))
        #expect(try bench.cache.value(for: "a") == "1")
        #expect(bench.reads == 1)
    }

    @Test func anOldValueIsNeverGiven() throws {
        let bench = Bench()
        #expect(try bench.cache.value(for: "a") == "1")
        bench.set("2")
        bench.pass(.seconds(1))
        #expect(try bench.cache.value(for: "a") == "2")
        bench.state.change { $0.isAway = true }
        bench.pass(.seconds(1))
        #expect(throws: Away.self) { try bench.cache.value(for: "a") }
        // A failure is not remembered.
        bench.state.change { $0.isAway = false }
        #expect(try bench.cache.value(for: "a") == "2")
    }

    @Test func anAbsenceIsRememberedAsLong() throws {
        let bench = Bench()
        #expect(try bench.cache.value(for: "b") == nil)
        bench.set("9", for: "b")
        bench.pass(.milliseconds(999))
        #expect(try bench.cache.value(for: "b") == nil)
        #expect(bench.reads == 1 && bench.cache.count == (0, 1))
        bench.pass(.milliseconds(1))
        #expect(try bench.cache.value(for: "b") == "9")
        #expect(bench.cache.count == (1, 0))
        bench.set(nil, for: "b")
        bench.cache.invalidate("b")
        #expect(try bench.cache.value(for: "b") == nil)
        #expect(bench.cache.count == (0, 1))
    }

    @Test func threadsThatMissTheSameKeyShareOneRead() {
        let bench = Bench()
        bench.state.change { $0.isHeld = true }
        let answers = bench.startReading("a", threads: 8)
        bench.state.wait(atMost: 5, while: { $0.waiting == 0 }, then: { _ in })
        let others = bench.startReading("c")
        bench.state.wait(atMost: 5, while: { $0.waiting < 2 }, then: { _ in })
        usleep(50_000)
        #expect(bench.reads == 2)
        bench.state.change { $0.isHeld = false }
        #expect(answers.wait(atMost: 5, while: { $0.count < 8 }, then: { $0 }) == [String?](repeating: "1", count: 8))
        #expect(others.wait(atMost: 5, while: { $0.isEmpty }, then: { $0 }) == [nil])
        #expect(bench.reads <= 3)
    }

    @Test func threadsThatShareAReadShareItsFailure() {
        let bench = Bench()
        bench.state.change {
            $0.isHeld = true; $0.isAway = true
        }
        let answers = bench.startReading("a", threads: 4)
        bench.state.wait(atMost: 5, while: { $0.waiting == 0 }, then: { _ in })
        bench.state.change { $0.isHeld = false }
        #expect(answers.wait(atMost: 5, while: { $0.count < 4 }, then: { $0 }) == [String?](repeating: nil, count: 4))
    }

    /// The read began before the change, so its answer may be the old one.
    @Test func whatWasReadDuringAnInvalidationIsNotKept() throws {
        let bench = Bench()
        bench.state.change { $0.isHeld = true }
        let answers = bench.startReading("a")
        bench.state.wait(atMost: 5, while: { $0.waiting == 0 }, then: { _ in })
        bench.set("2")
        bench.cache.invalidate("a")
        // Who asks after the invalidation does not share the older read either.
        let later = bench.startReading("a")
        bench.state.wait(atMost: 5, while: { $0.waiting < 2 }, then: { _ in })
        bench.state.change { $0.isHeld = false }
        #expect(answers.wait(atMost: 5, while: { $0.isEmpty }, then: { $0 }) == ["1"])
        #expect(later.wait(atMost: 5, while: { $0.isEmpty }, then: { $0 }) == ["2"])
        #expect(try bench.cache.value(for: "a") == "2")
        #expect(bench.reads == 2)
    }

    @Test func onlyWhatMatchesIsInvalidated() throws {
        let bench = Bench()
        bench.set("2", for: "b")
        for key in ["a", "b", "c"] { _ = try bench.cache.value(for: key) }
        bench.cache.invalidate { key, value in value == "2" || key == "c" }
        #expect(bench.cache.count == (1, 0))
        bench.cache.flush()
        #expect(bench.cache.count == (0, 0))
    }

    @Test func wrongKeysDoNotDisplaceRightOnes() throws {
        let bench = Bench(capacity: 10)
        for number in 0..<10 {
            bench.set("x", for: "key\(number)")
            _ = try bench.cache.value(for: "key\(number)")
        }
        for number in 0..<1000 { _ = try bench.cache.value(for: "wrong\(number)") }
        #expect(bench.cache.count == (10, 10))
        let before = bench.reads
        for number in 0..<10 { _ = try bench.cache.value(for: "key\(number)") }
        #expect(bench.reads == before)
        for number in 10..<50 {
            bench.set("x", for: "key\(number)")
            #expect(try bench.cache.value(for: "key\(number)") == "x")
        }
        #expect(bench.cache.count.present == 10)
    }

    @Test func whatIsUsedIsReadAgainBeforeItGetsOld() throws {
        let bench = Bench()
        bench.set("2", for: "unused")
        for key in ["a", "a", "unused", "absent"] { _ = try bench.cache.value(for: key) }
        bench.pass(.milliseconds(500))
        bench.cache.refresh()
        #expect(bench.reads == 3)
        bench.pass(.milliseconds(100))
        bench.set("3")
        bench.cache.refresh()
        #expect(bench.reads == 4)
        bench.pass(.milliseconds(900))
        #expect(try bench.cache.value(for: "a") == "3")
        #expect(bench.reads == 4)
        // Not used since, so it is not read again.
        bench.pass(.milliseconds(50))
        let before = bench.reads
        bench.state.change { $0.isAway = true }
        bench.cache.refresh()
        #expect(bench.reads == before + 1)
        #expect(try bench.cache.value(for: "a") == "3")
    }
}
