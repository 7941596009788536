import JSON
import OpenAI

/// Turns an engine's chunks into a stream of text completions (02 §17): chunks with text, the last of each choice with its finish reason.
package struct CompletionStreamGrammar: StreamGrammar {
    private let identity: AnswerIdentity
    private let asked: CompletionRequest
    private var frame: ChunkFrame
    private var choices: [Choice]
    private var countedPrompts: Set<Int> = []
    package private(set) var tally: StreamTally

    private struct Choice {
        var finishReason: String?
        /// Bytes of the prompt that are still to be said again; they are no output.
        var echoedBytes: Int
        var logprobs: CompletionLogprobs
    }

    package init(_ identity: AnswerIdentity, _ asked: CompletionRequest) {
        self.identity = identity
        self.asked = asked
        frame = ChunkFrame(includesUsage: asked.includesUsage)
        choices = (0..<asked.answers).map {
            Choice(echoedBytes: asked.echoedBytes(ofChoice: $0), logprobs: CompletionLogprobs(asked.logprobs))
        }
        tally = StreamTally(answers: asked.answers, promptEstimate: asked.promptEstimate)
    }

    package var isComplete: Bool { choices.allSatisfy { $0.finishReason != nil } }
    package var finishReason: String? { choices[0].finishReason }

    package mutating func receive(_ root: JSONElement) throws -> [UInt8] {
        // llama.cpp begins its answer to several prompts so.
        if root.isNull { return [] }
        guard let list = root["choices"], list.kind == .array, root["error"]?.isNull ?? true else { throw MalformedAnswer() }
        if let usage = TokenUsage(root["usage"]) { report(usage, root) }
        var json = JSONWriter(capacity: 512)
        for choice in list.elements {
            begin(fingerprint: root["system_fingerprint"])
            try receive(choice: choice, &json)
        }
        return json.bytes
    }

    private mutating func report(_ usage: TokenUsage, _ root: JSONElement) {
        let isApart = asked.answers > 1 && asked.adapter.countsApart(root)
        let choice = root["choices"]?.elements.first { _ in true }?["index"]?.integer ?? 0
        let isNew = isApart && choices.indices.contains(choice) && countedPrompts.insert(asked.prompt(ofChoice: choice)).inserted
        tally.report(usage, isApart: isApart, isOfNewPrompt: isNew)
    }

    package mutating func cut() throws -> [UInt8] {
        tally.isCut = true
        begin(fingerprint: nil)
        var json = JSONWriter(capacity: 512)
        for index in choices.indices where choices[index].finishReason == nil {
            choices[index].finishReason = "length"
            chunk(index, text: nil, logprobs: nil, &json)
        }
        return json.bytes
    }

    package func usageChunk() -> [UInt8] { frame.usageChunk(usage) }

    private mutating func begin(fingerprint: JSONElement?) {
        guard !frame.hasBegun else { return }
        frame.begin(identity.with(fingerprint), object: "text_completion", showsServiceTier: false)
    }

    private mutating func receive(choice: JSONElement, _ json: inout JSONWriter) throws {
        let index = choice["index"]?.integer ?? 0
        guard choices.indices.contains(index) else { throw MalformedAnswer() }
        // An engine that goes on after the end of a choice has nothing to say that a client could place.
        guard choices[index].finishReason == nil else { return }
        let text = choice["text"].flatMap { $0.isNull ? nil : $0 }
        if let text {
            guard let bytes = text.utf8?.count else { throw MalformedAnswer() }
            let echoed = min(choices[index].echoedBytes, bytes)
            choices[index].echoedBytes -= echoed
            tally.pass(bytes - echoed)
        }
        if let reason = choice["finish_reason"], !reason.isNull {
            guard let name = reason.string, FinishReason.ofTexts.contains(name) else { throw MalformedAnswer() }
            choices[index].finishReason = name
        } else if text?.utf8?.isEmpty ?? true {
            return
        }
        chunk(index, text: text, logprobs: choice["logprobs"], &json)
    }

    private mutating func chunk(_ index: Int, text: JSONElement?, logprobs: JSONElement?, _ json: inout JSONWriter) {
        frame.open(index, &json)
        json.raw(#","text":"#)
        if let text { json.raw(text.text) } else { json.raw(#""""#) }
        json.raw(#","logprobs":"#)
        choices[index].logprobs.write(logprobs, to: &json)
        frame.close(choices[index].finishReason, &json)
    }
}
