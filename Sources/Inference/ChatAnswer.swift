import JSON
import OpenAI

/// Rewrites an engine's whole answer to `chat.completion` (02 §2).
package struct ChatAnswer: GeneratedAnswer {
    package private(set) var usage: TokenUsage
    /// The first choice's.
    package private(set) var finishReason = "stop"
    private var json: JSONWriter
    private var outputBytes = 0
    private var reasoningBytes = 0
    private let allowsParallelCalls: Bool
    private let dropsAlternatives: Bool
    private let answersWithFunctionCall: Bool
    private let rules: AnswerRules?

    /// The answer without `x_metadata` and the closing brace, which the caller adds once it has settled.
    package var bytes: [UInt8] { json.bytes }

    /// - Throws: `MalformedAnswer` when a choice lacks its message or finish reason, `InvalidAnswer` when it is not what was demanded.
    package init(rewriting root: JSONElement, as identity: AnswerIdentity, _ chat: ChatRequest) throws {
        json = JSONWriter(capacity: root.text.count + 512)
        allowsParallelCalls = chat.allowsParallelCalls
        dropsAlternatives = chat.dropsAlternatives
        answersWithFunctionCall = chat.answersWithFunctionCall
        rules = chat.rules
        usage = TokenUsage(estimatedInput: 0, outputBytes: 0, reasoningBytes: 0)
        var identity = identity
        if let fingerprint = root["system_fingerprint"]?.string { identity.fingerprint = fingerprint }
        json.raw("{" as StaticString)
        identity.write(object: "chat.completion", to: &json)
        json.raw(#","choices":["#)
        guard let choices = root["choices"], choices.kind == .array else { throw MalformedAnswer() }
        var count = 0
        var firstBytes = 0
        for choice in choices.elements {
            if count > 0 { json.raw("," as StaticString) }
            try write(choice, index: choice["index"]?.integer ?? count)
            count += 1
            if count == 1 { firstBytes = outputBytes + reasoningBytes }
        }
        guard count > 0 else { throw MalformedAnswer() }
        json.raw(#"],"usage":"#)
        usage =
            TokenUsage(root["usage"]).map { usage in
                guard count > 1, chat.adapter.countsApart(root) else { return usage }
                return usage.scaled(from: firstBytes, to: outputBytes + reasoningBytes)
            }
            ?? TokenUsage(estimatedInput: chat.promptEstimate, outputBytes: outputBytes, reasoningBytes: reasoningBytes)
        usage.write(to: &json)
    }

    private mutating func write(_ choice: JSONElement, index: Int) throws {
        guard let message = choice["message"], message.kind == .object else { throw MalformedAnswer() }
        guard var reason = choice["finish_reason"]?.string, FinishReason.all.contains(reason) else { throw MalformedAnswer() }
        let said = try rules.map { try DemandedMessage(message, $0, allowsParallelCalls: allowsParallelCalls) }
        if let said { reason = try said.record.finished(reason) }
        if answersWithFunctionCall, reason == "tool_calls" { reason = "function_call" }
        if index == 0 { finishReason = reason }
        json.raw(#"{"index":"#)
        json.integer(index)
        json.raw(#","message":{"role":"assistant","content":"#)
        if let guided = said?.guided { write(guided.content) } else { try text(message["content"]) }
        json.raw(#","refusal":"#)
        try text(message["refusal"])
        if let reasoning = message.reasoning, let text = reasoning.utf8, text.count > 0 {
            json.raw(#","reasoning_content":"#)
            json.raw(reasoning.text)
            reasoningBytes += text.count
        }
        if let calls = said?.guided?.calls, !calls.isEmpty {
            write(calls)
        } else if let calls = message["tool_calls"], calls.kind == .array, calls.elements.first(where: { _ in true }) != nil {
            beginCalls()
            for (position, call) in calls.elements.enumerated() where position == 0 || allowsParallelCalls {
                if position > 0 { json.raw("," as StaticString) }
                try write(call: call)
            }
            endCalls()
        }
        json.raw(#","annotations":"#)
        if let annotations = message["annotations"], annotations.kind == .array {
            json.line(annotations)
        } else {
            json.raw("[]" as StaticString)
        }
        json.raw(#"},"logprobs":"#)
        json.logprobs(said?.guided == nil ? choice["logprobs"] : nil, droppingAlternatives: dropsAlternatives)
        json.raw(#","finish_reason":"#)
        json.string(reason)
        json.raw("}" as StaticString)
    }

    private mutating func text(_ value: JSONElement?) throws {
        guard let value, !value.isNull else { return json.raw("null" as StaticString) }
        guard let text = value.utf8 else { throw MalformedAnswer() }
        outputBytes += text.count
        json.raw(value.text)
    }

    private mutating func write(_ content: [UInt8]?) {
        guard let content else { return json.raw("null" as StaticString) }
        outputBytes += content.count
        content.withUnsafeBytes { json.string($0) }
    }

    private mutating func write(_ calls: [DemandedMessage.Call]) {
        beginCalls()
        for (position, call) in calls.enumerated() where position == 0 || allowsParallelCalls {
            if position > 0 { json.raw("," as StaticString) }
            var name = call.name
            name.withUTF8 { name in call.arguments.withUnsafeBytes { write(id: nil, UnsafeRawBufferPointer(name), $0) } }
        }
        endCalls()
    }

    /// A call of old stands alone, without an id.
    private mutating func beginCalls() {
        json.raw(answersWithFunctionCall ? #","function_call":"# as StaticString : #","tool_calls":["#)
    }

    private mutating func endCalls() {
        if !answersWithFunctionCall { json.raw("]" as StaticString) }
    }

    private mutating func write(call: JSONElement) throws {
        guard let function = call["function"], let name = function["name"]?.utf8, let arguments = function["arguments"]?.utf8 else {
            throw MalformedAnswer()
        }
        write(id: call["id"]?.string, name, arguments)
    }

    private mutating func write(id: String?, _ name: UnsafeRawBufferPointer, _ arguments: UnsafeRawBufferPointer) {
        outputBytes += name.count + arguments.count
        json.raw("{" as StaticString)
        if !answersWithFunctionCall {
            json.raw(#""id":"#)
            json.string(id.flatMap { $0.isEmpty ? nil : $0 } ?? ID<ToolCall>.random().description)
            json.raw(#","type":"function","function":{"#)
        }
        json.raw(#""name":"#)
        json.string(name)
        json.raw(#","arguments":"#)
        json.string(arguments)
        json.raw(answersWithFunctionCall ? "}" as StaticString : "}}")
    }
}
