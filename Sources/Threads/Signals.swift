import Glibc

/// Signals that one thread waits for instead of having them interrupt any thread; see sigwait(3).
public struct Signals: Sendable {
    private let set: sigset_t

    /// Blocks the signals in this thread and in all that it starts from now on.
    public static func block(_ signals: [Int32]) -> Signals {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        return Signals(set: set)
    }

    /// Returns the one that has come.
    public func wait() -> Int32 {
        var set = set
        var signal: Int32 = 0
        sigwait(&set, &signal)
        return signal
    }
}
