/// What one whole answer took, in milliseconds.
public struct AnswerTimings: Sendable, Equatable {
    public var total: Double
    public var queue: Double
    public var prefill: Double
    public var decode: Double
    public var promptTokens: Int
    public var cachedTokens: Int
    public var outputTokens: Int

    public init(total: Double, queue: Double, prefill: Double, decode: Double, promptTokens: Int, cachedTokens: Int, outputTokens: Int) {
        self.total = total
        self.queue = queue
        self.prefill = prefill
        self.decode = decode
        self.promptTokens = promptTokens
        self.cachedTokens = cachedTokens
        self.outputTokens = outputTokens
    }
}

/// Moving averages (alpha 0.2) of one model on one worker, and what they predict (05 §7); nil before there was anything to learn from.
public struct ModelHistory: Sendable, Equatable {
    /// From dispatch to the end, ms.
    public private(set) var latency: Double?
    /// Output tokens a second.
    public private(set) var tokensPerSecond: Double?
    private var queue: Double?
    private var prefillPerSecond: Double?
    /// What the first token takes beyond queue and prefill, ms.
    private var base: Double?
    private var millisecondsPerToken: Double?

    public init() {}

    public mutating func add(_ timings: AnswerTimings) {
        latency = .average(latency, with: timings.total)
        // Nobody knows when the first token of a whole answer was there.
        guard timings.prefill > 0 || timings.decode > 0 else { return }
        queue = .average(queue, with: timings.queue)
        base = .average(base, with: max(0, timings.total - timings.queue - timings.prefill - timings.decode))
        let uncached = timings.promptTokens - timings.cachedTokens
        if uncached > 0 && timings.prefill > 0 {
            prefillPerSecond = .average(prefillPerSecond, with: Double(uncached) / timings.prefill * 1_000)
        }
        if timings.outputTokens > 0 && timings.decode > 0 {
            millisecondsPerToken = .average(millisecondsPerToken, with: timings.decode / Double(timings.outputTokens))
            tokensPerSecond = .average(tokensPerSecond, with: Double(timings.outputTokens) / timings.decode * 1_000)
        }
    }

    /// Milliseconds until the first token of a prompt of which so many tokens must be computed.
    public func timeToFirstToken(uncachedPromptTokens: Double) -> Double? {
        guard let queue, let prefillPerSecond, let base else { return nil }
        return queue + uncachedPromptTokens / prefillPerSecond * 1_000 + base
    }

    /// Milliseconds for each further token while so many requests share the engine.
    public func timePerToken(running: Int, maxSequences: Int) -> Double? {
        guard let millisecondsPerToken else { return nil }
        return millisecondsPerToken * (1 + Double(running) / Double(max(1, maxSequences)) * 0.5)
    }
}
