/// Tells the frames of the present attempt of a request, each once and in its order, from late ones of an attempt that was given up (05 §6, §12).
public struct FrameOrder: Sendable, Equatable {
    public enum Verdict: Sendable, Equatable {
        case next
        /// Of an earlier attempt, or seen before: it is dropped.
        case late
        /// Frames are missing between, or it is of an attempt that nobody has begun: the attempt has failed, since something of the answer is lost.
        case broken
    }

    private var attempt: Int
    private var expected = 0

    public init(attempt: Int) { self.attempt = attempt }

    /// Another worker is tried; what the one before still sends is late.
    public mutating func begin(attempt: Int) {
        self.attempt = attempt
        expected = 0
    }

    public mutating func judge(attempt: Int, sequence: Int) -> Verdict {
        if attempt < self.attempt || (attempt == self.attempt && sequence < expected) { return .late }
        guard attempt == self.attempt, sequence == expected else { return .broken }
        expected += 1
        return .next
    }
}
