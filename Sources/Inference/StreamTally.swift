import JSON

/// Counts what a stream has said: as the engine reports it, else by its pieces.
package struct StreamTally {
    private let answers: Int
    private let promptEstimate: Int
    private var outputBytes = 0
    private var reasoningBytes = 0
    private var reportedUsage: TokenUsage?
    /// Tokens that have passed, as far as pieces show them; those of reasoning among them.
    private(set) var passedTokens = 0
    private var passedReasoningTokens = 0
    /// The answer was ended before its time.
    var isCut = false

    init(answers: Int, promptEstimate: Int) {
        self.answers = answers
        self.promptEstimate = promptEstimate
    }

    func usage(isComplete: Bool) -> TokenUsage {
        if let reportedUsage { return reportedUsage }
        var usage = TokenUsage(estimatedInput: promptEstimate, outputBytes: outputBytes, reasoningBytes: reasoningBytes)
        if isCut || !isComplete { (usage.output, usage.reasoning) = (passedTokens, passedReasoningTokens) }
        return usage
    }

    /// - Parameters:
    ///   - isApart: it is that of one choice.
    ///   - isOfNewPrompt: no choice of the same prompt was counted before.
    mutating func report(_ usage: TokenUsage, isApart: Bool, isOfNewPrompt: Bool = false) {
        guard isApart, reportedUsage != nil else { return reportedUsage = usage }
        reportedUsage?.add(choice: usage, ofNewPrompt: isOfNewPrompt)
    }

    /// The tokens of output so far. With several choices a report may be of some of them.
    var producedTokens: Int {
        guard let reported = reportedUsage?.output else { return passedTokens }
        return answers > 1 ? max(reported, passedTokens) : reported
    }

    /// Engines send a piece for each token, or for a few when they are in a hurry; hardly any token has more bytes than this.
    private static let largestToken = 16

    /// - Returns: the tokens.
    @discardableResult
    mutating func pass(_ bytes: Int, isReasoning: Bool = false) -> Int {
        guard bytes > 0 else { return 0 }
        let tokens = bytes <= Self.largestToken ? 1 : (bytes + 3) / 4
        passedTokens += tokens
        if isReasoning {
            passedReasoningTokens += tokens
            reasoningBytes += bytes
        } else {
            outputBytes += bytes
        }
        return tokens
    }
}
