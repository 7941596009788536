/// Threads that wait for their next piece of work for a while instead of ending: to wake one takes less than to start one.
public final class IdleThreads: Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
        var idle = 0
    }

    private let name: String
    private let stackSize: Int
    private let patience: Double
    private let state = Monitor(State())

    /// - Parameters:
    ///   - name: of each thread; see `startThread`.
    ///   - patience: seconds without work, after which a thread ends.
    public init(_ name: String, stackSize: Int = 256 << 10, patience: Double = 10) {
        (self.name, self.stackSize, self.patience) = (name, stackSize, patience)
    }

    /// Runs it at once, on a thread that it has for itself.
    public func run(_ work: @escaping @Sendable () -> Void) {
        let isTaken = state.withLock { state in
            guard state.work.count < state.idle else { return false }
            state.work.append(work)
            return true
        }
        if isTaken { return state.wakeOne() }
        startThread(name, stackSize: stackSize) { [self] in
            work()
            while let next { next() }
        }
    }

    /// nil when none has come for too long.
    private var next: (@Sendable () -> Void)? {
        state.withLock { $0.idle += 1 }
        return state.wait(atMost: patience, while: { $0.work.isEmpty }) { state in
            state.idle -= 1
            return state.work.popLast()
        }
    }
}
