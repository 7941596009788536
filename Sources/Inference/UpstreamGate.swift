import HTTPClient
import Synchronization
import Threads

/// Lets a bounded number of calls through at once; the others wait in the order of their coming.
final class UpstreamGate: Sendable {
    private let places: Int
    private let depth: Int
    private let state: Lock<State>

    private struct State {
        var free: Int
        var waiting: [UpstreamTicket] = []
        /// How long a call keeps its place, on average.
        var meanStay = 1.0
    }

    init(places: Int, depth: Int) {
        self.places = max(1, places)
        self.depth = depth
        state = Lock(State(free: max(1, places)))
    }

    /// A place, or a place in the queue; nil when the queue is full.
    func join() -> UpstreamTicket? {
        state.withLock { state in
            if state.free > 0 {
                state.free -= 1
                return UpstreamTicket(self, hasPlace: true)
            }
            guard state.waiting.count < depth else { return nil }
            let ticket = UpstreamTicket(self, hasPlace: false)
            state.waiting.append(ticket)
            return ticket
        }
    }

    /// When a place may be expected: 1 to 30 s.
    var retryAfter: Int {
        let (waiting, stay) = state.withLock { ($0.waiting.count, $0.meanStay) }
        return Int(min(30, max(1, (stay * Double(waiting + 1) / Double(places)).rounded(.up))))
    }

    /// Gives a place to the first that waits.
    fileprivate func leave(after stay: Duration) {
        let next: UpstreamTicket? = state.withLock { state in
            state.meanStay = 0.8 * state.meanStay + 0.2 * (stay / .seconds(1))
            guard !state.waiting.isEmpty else {
                state.free += 1
                return nil
            }
            let first = state.waiting.removeFirst()
            first.takePlace()
            return first
        }
        next?.bell?.ring()
    }

    /// Takes a ticket out of the queue; false when it has got its place already.
    fileprivate func withdraw(_ ticket: UpstreamTicket) -> Bool {
        state.withLock { state in
            guard let index = state.waiting.firstIndex(where: { $0 === ticket }) else { return false }
            state.waiting.remove(at: index)
            return true
        }
    }
}

/// A place at a gate or in its queue. Whoever holds it ends it, once.
final class UpstreamTicket: Sendable {
    private let gate: UpstreamGate
    fileprivate let hasPlace: Atomic<Bool>
    /// Only those that wait need one.
    fileprivate let bell: Doorbell?
    /// When the place was given.
    private let start: Lock<ContinuousClock.Instant>

    fileprivate init(_ gate: UpstreamGate, hasPlace: Bool) {
        self.gate = gate
        self.hasPlace = Atomic(hasPlace)
        start = Lock(.now)
        bell = hasPlace ? nil : Doorbell()
    }

    fileprivate func takePlace() {
        start.withLock { $0 = .now }
        hasPlace.store(true, ordering: .releasing)
    }

    /// Waits for the place. `.rung` = it is there.
    func wait(until instant: ContinuousClock.Instant, orDescriptor descriptor: Int32?) -> Doorbell.Outcome {
        guard let bell, !hasPlace.load(ordering: .acquiring) else { return .rung }
        return bell.wait(until: instant, orDescriptor: descriptor)
    }

    func end() {
        if !hasPlace.load(ordering: .acquiring), gate.withdraw(self) { return }
        gate.leave(after: .now - start.withLock { $0 })
    }
}
