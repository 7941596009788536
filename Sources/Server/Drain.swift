import Synchronization
import Threads

/// Says when a process that is told to stop must be done: streams that still run then end with an error frame and are settled,
/// before whoever supervises the process loses patience.
public final class Drain: Sendable {
    private let hasBegun = Atomic(false)
    private let deadline = Lock<ContinuousClock.Instant?>(nil)

    public init() {}

    /// From now on requests have this long to end.
    public func begin(within patience: Duration) {
        deadline.withLock { $0 = .now + patience }
        hasBegun.store(true, ordering: .releasing)
    }

    /// Long requests look here at least every few seconds.
    public var isOver: Bool {
        // Every piece of every stream asks, so without the lock as long as there is nothing to know.
        guard hasBegun.load(ordering: .acquiring), let deadline = deadline.withLock({ $0 }) else { return false }
        return ContinuousClock.now >= deadline
    }
}
