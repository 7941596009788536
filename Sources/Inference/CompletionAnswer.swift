import JSON
import OpenAI

/// Rewrites an engine's whole answer to `text_completion` (02 §17).
package struct CompletionAnswer: GeneratedAnswer {
    package private(set) var usage: TokenUsage
    package private(set) var finishReason = "stop"
    private var json: JSONWriter
    /// Without the prompts that are said again.
    private var outputBytes = 0

    package var bytes: [UInt8] { json.bytes }

    /// - Throws: `MalformedAnswer` when a choice lacks something, stands twice, or is not there: an answer to some of the prompts is none.
    init(rewriting root: JSONElement, as identity: AnswerIdentity, _ asked: CompletionRequest) throws {
        json = JSONWriter(capacity: root.text.count + 512)
        usage = TokenUsage(estimatedInput: 0, outputBytes: 0, reasoningBytes: 0)
        json.raw("{" as StaticString)
        identity.with(root["system_fingerprint"]).write(object: "text_completion", showsServiceTier: false, to: &json)
        json.raw(#","choices":["#)
        guard let choices = root["choices"], choices.kind == .array else { throw MalformedAnswer() }
        var isThere = Array(repeating: false, count: asked.answers)
        var firstBytes = 0
        for (place, choice) in choices.elements.enumerated() {
            let index = choice["index"]?.integer ?? place
            guard isThere.indices.contains(index), !isThere[index] else { throw MalformedAnswer() }
            isThere[index] = true
            if place > 0 { json.raw("," as StaticString) }
            let bytes = try write(choice, index: index, asked)
            outputBytes += bytes
            if index == 0 { firstBytes = bytes }
        }
        guard !isThere.contains(false) else { throw MalformedAnswer() }
        usage = Self.usage(of: root, asked, firstBytes: firstBytes, allBytes: outputBytes)
        json.raw(#"],"usage":"#)
        usage.write(to: &json)
    }

    private static func usage(of root: JSONElement, _ asked: CompletionRequest, firstBytes: Int, allBytes: Int) -> TokenUsage {
        guard let counted = TokenUsage(root["usage"]) else {
            return TokenUsage(estimatedInput: asked.promptEstimate, outputBytes: allBytes, reasoningBytes: 0)
        }
        guard asked.answers > 1, asked.adapter.countsApart(root) else { return counted }
        var usage = counted.scaled(from: firstBytes, to: allBytes)
        usage.input = asked.promptTokens(first: counted.input)
        return usage
    }

    /// - Returns: the bytes of the model's own text.
    private mutating func write(_ choice: JSONElement, index: Int, _ asked: CompletionRequest) throws -> Int {
        guard let text = choice["text"], let bytes = text.utf8 else { throw MalformedAnswer() }
        guard let reason = choice["finish_reason"]?.string, FinishReason.ofTexts.contains(reason) else { throw MalformedAnswer() }
        if index == 0 { finishReason = reason }
        json.raw(#"{"index":"#)
        json.integer(index)
        json.raw(#","text":"#)
        json.raw(text.text)
        json.raw(#","logprobs":"#)
        var logprobs = CompletionLogprobs(asked.logprobs)
        logprobs.write(choice["logprobs"], to: &json)
        json.raw(#","finish_reason":"#)
        json.string(reason)
        json.raw("}" as StaticString)
        return max(0, bytes.count - asked.echoedBytes(ofChoice: index))
    }
}
