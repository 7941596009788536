import JSON

/// Tokens of one request, as reported by the engine or estimated from bytes.
package struct TokenUsage: Equatable, Sendable {
    package var input = 0
    package var output = 0
    package var cached = 0
    package var reasoning = 0
    /// True when the engine gave none.
    package var isEstimated = false

    /// More than any model reads or writes at once; a count beyond it is not believed.
    private static let plausible = 0...1_000_000_000

    /// Reads OpenAI's `usage` object; nil when it has no token counts.
    init?(_ usage: JSONElement?) {
        guard let usage, let input = usage["prompt_tokens"]?.integer, Self.plausible.contains(input) else { return nil }
        let output = usage["completion_tokens"]?.integer ?? 0
        guard Self.plausible.contains(output) else { return nil }
        self.input = input
        self.output = output
        cached = min(input, max(0, usage["prompt_tokens_details"]?["cached_tokens"]?.integer ?? 0))
        reasoning = min(output, max(0, usage["completion_tokens_details"]?["reasoning_tokens"]?.integer ?? 0))
    }

    /// The rule for engines that report nothing: a token is 4 bytes.
    init(estimatedInput input: Int, outputBytes: Int, reasoningBytes: Int) {
        self.input = input
        output = (outputBytes + reasoningBytes + 3) / 4
        reasoning = (reasoningBytes + 3) / 4
        isEstimated = true
    }

    /// The usage of all choices, where an engine counted those of the first alone: the others have as many tokens for each byte.
    func scaled(from first: Int, to all: Int) -> TokenUsage {
        var usage = self
        usage.output = first > 0 ? (output * all + first - 1) / first : output + (all + 3) / 4
        usage.reasoning = first > 0 ? reasoning * all / first : reasoning
        usage.isEstimated = true
        return usage
    }

    /// Adds what an engine counted of another choice: of the same prompt, or of one that was not counted before.
    mutating func add(choice: TokenUsage, ofNewPrompt isNew: Bool) {
        output += choice.output
        reasoning += choice.reasoning
        if isNew {
            input += choice.input
            cached += choice.cached
        } else {
            // The prompt was read once, by the choice that came first.
            cached = min(cached, choice.cached)
        }
    }

    /// What the token bucket is charged: cached prompt tokens count a quarter (04 §7).
    package var rateTokens: Int { input - cached + (cached + 3) / 4 + output }

    func write(to json: inout JSONWriter) {
        json.raw(#"{"prompt_tokens":"#)
        json.integer(input)
        json.raw(#","completion_tokens":"#)
        json.integer(output)
        json.raw(#","total_tokens":"#)
        json.integer(input + output)
        json.raw(#","prompt_tokens_details":{"cached_tokens":"#)
        json.integer(cached)
        json.raw(#","audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"#)
        json.integer(reasoning)
        json.raw(#","accepted_prediction_tokens":0,"rejected_prediction_tokens":0,"audio_tokens":0}}"#)
    }
}
