import JSON
import OpenAI

/// Turns an engine's chunks into the stream of 02 §3. Pure: chunks in, bytes out.
///
/// Every choice begins with its role, ends with one empty delta that carries the finish reason, and has its text between.
package struct ChatStreamGrammar: StreamGrammar {
    private let identity: AnswerIdentity
    private let chat: ChatRequest
    private let vendorEvents: Bool
    private let dropsAlternatives: Bool
    private var frame: ChunkFrame
    private var choices: [Choice]
    private var sequence = 0

    package private(set) var tally: StreamTally

    private struct Choice {
        var finishReason: String?
        var annotations: [UInt8] = []
        /// Tool calls whose first piece has been sent.
        var openedCalls: Set<Int> = []
        var hasReasoning = false
        /// As far as deltas show them.
        var reasoningTokens = 0
        /// Where the request demands something of the answer.
        var record: AnswerRecord?
    }

    package init(_ identity: AnswerIdentity, _ chat: ChatRequest, vendorEvents: Bool) {
        self.identity = identity
        self.chat = chat
        self.vendorEvents = vendorEvents
        dropsAlternatives = chat.dropsAlternatives
        tally = StreamTally(answers: chat.choices, promptEstimate: chat.promptEstimate)
        frame = ChunkFrame(includesUsage: chat.includesUsage)
        choices = Array(repeating: Choice(record: chat.rules.map { AnswerRecord($0) }), count: chat.choices)
    }

    /// True when every choice has had its finish reason.
    package var isComplete: Bool { choices.allSatisfy { $0.finishReason != nil } }
    /// The first choice's, once it has ended.
    package var finishReason: String? { choices[0].finishReason }

    /// Ends every choice that has not ended, for its length: the frames that say so.
    /// - Throws: `InvalidAnswer` where an answer must be complete.
    package mutating func cut() throws -> [UInt8] {
        tally.isCut = true
        var json = JSONWriter(capacity: 512)
        if !frame.hasBegun { begin(fingerprint: nil, &json) }
        for index in choices.indices where choices[index].finishReason == nil { try finish(index, "length", &json) }
        return json.bytes
    }

    /// The frames that one chunk of the engine becomes; often one, sometimes none.
    /// - Throws: `MalformedAnswer`, or `InvalidAnswer` for what is not as demanded; nothing of the chunk must be sent then.
    package mutating func receive(_ root: JSONElement) throws -> [UInt8] {
        var list: JSONElement?
        for member in root.members {
            switch member.name {
            case "error" where !member.value.isNull: throw MalformedAnswer()
            case "usage":
                guard let usage = TokenUsage(member.value) else { continue }
                tally.report(usage, isApart: chat.choices > 1 && chat.adapter.countsApart(root))
            case "choices": list = list ?? member.value
            default: continue
            }
        }
        guard let list, list.kind == .array else { throw MalformedAnswer() }
        var json = JSONWriter(capacity: 512)
        for choice in list.elements {
            if !frame.hasBegun { begin(fingerprint: root["system_fingerprint"], &json) }
            try receive(choice: choice, &json)
        }
        return json.bytes
    }

    package func usageChunk() -> [UInt8] { frame.usageChunk(usage) }

    package mutating func metadataEvent(_ metadata: VendorMetadata) -> [UInt8] {
        vendorEvent("x_chat.metadata") { json in
            json.raw("," as StaticString)
            metadata.write(to: &json)
        }
    }

    /// An event of our own, sent only after opt-in (02 §4). `choices:[]` lets SDK stream helpers pass over it.
    private mutating func vendorEvent(_ name: StaticString, _ payload: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter(capacity: 256)
        json.raw("event: " as StaticString)
        json.raw(name)
        json.raw("\ndata: {\"type\":\"")
        json.raw(name)
        json.raw(#"","id":"#)
        json.string(identity.id)
        json.raw(#","seq":"#)
        json.integer(sequence)
        json.raw(#","choices":[]"#)
        sequence += 1
        payload(&json)
        json.raw("}\n\n" as StaticString)
        return json.bytes
    }

    // MARK: Chunks

    private mutating func begin(fingerprint: JSONElement?, _ json: inout JSONWriter) {
        frame.begin(identity.with(fingerprint), object: "chat.completion.chunk")
        for index in choices.indices {
            chunk(index, logprobs: nil, &json) { $0.raw(#"{"role":"assistant","content":""}"#) }
        }
    }

    private func chunk(
        _ index: Int, logprobs: JSONElement?, finishReason: String? = nil, _ json: inout JSONWriter, _ delta: (inout JSONWriter) -> Void
    ) {
        frame.open(index, &json)
        json.raw(#","delta":"#)
        delta(&json)
        json.raw(#","logprobs":"#)
        json.logprobs(logprobs, droppingAlternatives: dropsAlternatives)
        frame.close(finishReason, &json)
    }

    private mutating func receive(choice: JSONElement, _ json: inout JSONWriter) throws {
        var index = 0
        var delta, logprobs, reason: JSONElement?
        for member in choice.members where !member.value.isNull {
            switch member.name {
            case "index": index = member.value.integer ?? 0
            case "delta": delta = member.value
            case "logprobs": logprobs = member.value
            case "finish_reason": reason = member.value
            default: continue
            }
        }
        guard choices.indices.contains(index) else { throw MalformedAnswer() }
        // An engine that goes on after the end of a choice has nothing to say that a client could place.
        guard choices[index].finishReason == nil else { return }
        if let delta {
            guard delta.kind == .object else { throw MalformedAnswer() }
            try receive(delta: delta, index, logprobs: logprobs, &json)
        }
        guard let reason else { return }
        guard let name = reason.string, FinishReason.all.contains(name) else { throw MalformedAnswer() }
        try finish(index, name, &json)
    }

    private mutating func receive(delta: JSONElement, _ index: Int, logprobs: JSONElement?, _ json: inout JSONWriter) throws {
        var logprobs = logprobs
        for member in delta.members where !member.value.isNull {
            let value = member.value
            switch member.name {
            case "content", "refusal":
                guard let text = value.utf8 else { throw MalformedAnswer() }
                if text.isEmpty { continue }
                tally.pass(text.count)
                endReasoning(index, &json)
                let isContent = member.name == "content"
                if choices[index].record != nil {
                    // A guided call is content to the engine.
                    if isContent, try receive(demanded: text, index, &json) { continue }
                    if !isContent { choices[index].record?.hasRefused = true }
                }
                chunk(index, logprobs: logprobs, &json) { writer in
                    writer.raw(isContent ? #"{"content":"# as StaticString : #"{"refusal":"# as StaticString)
                    writer.raw(value.text)
                    writer.raw("}" as StaticString)
                }
                logprobs = nil
            case "reasoning_content", "reasoning":
                // Some engines say it under both names.
                if member.name == "reasoning", delta["reasoning_content"]?.kind == .string { continue }
                guard let text = value.utf8 else { throw MalformedAnswer() }
                if text.isEmpty { continue }
                choices[index].reasoningTokens += tally.pass(text.count, isReasoning: true)
                reasoning(value, index, &json)
            case "tool_calls":
                guard value.kind == .array else { throw MalformedAnswer() }
                endReasoning(index, &json)
                for (position, call) in value.elements.enumerated() { try receive(call: call, position, index, &json) }
            case "annotations":
                guard value.kind == .array else { throw MalformedAnswer() }
                for annotation in value.elements {
                    if !choices[index].annotations.isEmpty { choices[index].annotations.append(UInt8(ascii: ",")) }
                    var line = JSONWriter(capacity: 128)
                    line.line(annotation)
                    choices[index].annotations += line.bytes
                }
            default: continue
            }
        }
    }

    /// - Returns: whether the text was guided, so that its events have been written.
    private mutating func receive(demanded text: UnsafeRawBufferPointer, _ index: Int, _ json: inout JSONWriter) throws -> Bool {
        guard choices[index].record?.guided != nil else {
            choices[index].record?.add(content: text)
            return false
        }
        for event in try choices[index].record?.read(guided: text) ?? [] {
            switch event {
            case .call(let number, var name):
                name.withUTF8 { call(number, index, name: UnsafeRawBufferPointer($0), id: nil, arguments: nil, &json) }
            case .arguments(let number, let piece):
                piece.withUnsafeBytes { call(number, index, name: nil, id: nil, arguments: $0, &json) }
            case .content(let piece):
                chunk(index, logprobs: nil, &json) { writer in
                    writer.raw(#"{"content":"#)
                    piece.withUnsafeBytes { writer.string($0) }
                    writer.raw("}" as StaticString)
                }
            }
        }
        return true
    }

    private mutating func reasoning(_ value: JSONElement, _ index: Int, _ json: inout JSONWriter) {
        choices[index].hasReasoning = true
        guard vendorEvents else {
            return chunk(index, logprobs: nil, &json) { writer in
                writer.raw(#"{"reasoning_content":"#)
                writer.raw(value.text)
                writer.raw("}" as StaticString)
            }
        }
        json.raw(
            vendorEvent("x_chat.reasoning") { writer in
                writer.raw(#","index":"#)
                writer.integer(index)
                writer.raw(#","delta":"#)
                writer.raw(value.text)
            })
    }

    /// Says once that the thoughts of a choice are complete.
    private mutating func endReasoning(_ index: Int, _ json: inout JSONWriter) {
        guard vendorEvents, choices[index].hasReasoning else { return }
        choices[index].hasReasoning = false
        let tokens = choices[index].reasoningTokens
        json.raw(
            vendorEvent("x_chat.reasoning") { writer in
                writer.raw(#","index":"#)
                writer.integer(index)
                writer.raw(#","delta":"","done":true,"tokens":"#)
                writer.integer(tokens)
            })
    }

    /// The first piece of a call carries id, type and name; the others only arguments.
    private mutating func receive(call: JSONElement, _ position: Int, _ index: Int, _ json: inout JSONWriter) throws {
        guard call.kind == .object else { throw MalformedAnswer() }
        let number = call["index"]?.integer ?? position
        if !chat.allowsParallelCalls, let only = choices[index].openedCalls.first, only != number { return }
        let function = call["function"]
        let arguments = function?["arguments"]?.utf8
        let isFirst = choices[index].openedCalls.insert(number).inserted
        let name = function?["name"]?.utf8
        if isFirst, name == nil { throw MalformedAnswer() }
        tally.pass((arguments?.count ?? 0) + (isFirst ? name?.count ?? 0 : 0))
        if isFirst, choices[index].record != nil { choices[index].record?.begin(call: number, name: function?["name"]?.string ?? "") }
        if let arguments { choices[index].record?.add(arguments: arguments, toCall: number) }
        self.call(number, index, name: isFirst ? name : nil, id: call["id"]?.string, arguments: arguments, &json)
    }

    /// - Parameter name: in the first piece alone.
    private func call(
        _ number: Int, _ index: Int, name: UnsafeRawBufferPointer?, id: String?, arguments: UnsafeRawBufferPointer?,
        _ json: inout JSONWriter
    ) {
        if chat.answersWithFunctionCall { return oldCall(index, name: name, arguments: arguments, &json) }
        chunk(index, logprobs: nil, &json) { writer in
            writer.raw(#"{"tool_calls":[{"index":"#)
            writer.integer(number)
            if let name {
                writer.raw(#","id":"#)
                writer.string(id.flatMap { $0.isEmpty ? nil : $0 } ?? ID<ToolCall>.random().description)
                writer.raw(#","type":"function","function":{"name":"#)
                writer.string(name)
                writer.raw(#","arguments":"#)
            } else {
                writer.raw(#","function":{"arguments":"#)
            }
            if let arguments { writer.string(arguments) } else { writer.raw(#""""#) }
            writer.raw("}}]}" as StaticString)
        }
    }

    /// As calls were before tools: one, without an id.
    private func oldCall(_ index: Int, name: UnsafeRawBufferPointer?, arguments: UnsafeRawBufferPointer?, _ json: inout JSONWriter) {
        chunk(index, logprobs: nil, &json) { writer in
            writer.raw(#"{"function_call":{"#)
            if let name {
                writer.raw(#""name":"#)
                writer.string(name)
                writer.raw("," as StaticString)
            }
            writer.raw(#""arguments":"#)
            if let arguments { writer.string(arguments) } else { writer.raw(#""""#) }
            writer.raw("}}" as StaticString)
        }
    }

    private mutating func finish(_ index: Int, _ reason: String, _ json: inout JSONWriter) throws {
        var reason = try choices[index].record?.finished(reason) ?? reason
        if chat.answersWithFunctionCall, reason == "tool_calls" { reason = "function_call" }
        endReasoning(index, &json)
        let annotations = choices[index].annotations
        if !annotations.isEmpty {
            chunk(index, logprobs: nil, &json) { writer in
                writer.raw(#"{"annotations":["#)
                writer.raw(annotations)
                writer.raw("]}" as StaticString)
            }
        }
        choices[index].finishReason = reason
        chunk(index, logprobs: nil, finishReason: reason, &json) { $0.raw("{}" as StaticString) }
    }
}
