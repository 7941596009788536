/// Keeps requests away from a worker that fails all the time (05 §2): 5 agent faults in a row open it; after 10 s one trial may run; its success
/// closes, its failure doubles the wait, up to 5 minutes. Faults of clients are no news about the worker and are not told here.
public struct CircuitBreaker: Sendable, Equatable {
    public static let faultsToOpen = 5
    public static let firstWait: Double = 10
    public static let longestWait: Double = 300

    private var faultsInARow = 0
    private var wait = firstWait
    /// Set while it is open or half-open.
    private var openUntil: Instant?
    private var isTrialRunning = false

    public init() {}

    public func allows(at now: Instant) -> Bool {
        guard let openUntil else { return true }
        return now >= openUntil && !isTrialRunning
    }

    /// When this goes from no to yes by itself; nil where it does not.
    public var opensAgainAt: Instant? { isTrialRunning ? nil : openUntil }

    /// A request is on its way to the worker.
    public mutating func began() {
        if openUntil != nil { isTrialRunning = true }
    }

    public mutating func succeeded() { self = CircuitBreaker() }

    /// A fault of the worker.
    public mutating func failed(at now: Instant) {
        if isTrialRunning {
            wait = min(2 * wait, Self.longestWait)
            isTrialRunning = false
            openUntil = now + wait
            return
        }
        faultsInARow += 1
        // A request that was under way when it opened says nothing new.
        if faultsInARow >= Self.faultsToOpen && openUntil == nil { openUntil = now + wait }
    }

    /// The request ended without a word about the worker: the client was at fault or has left. The next one is the trial.
    public mutating func endedWithoutNews() { isTrialRunning = false }
}
