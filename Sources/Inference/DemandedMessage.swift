import JSON

/// A whole message of an engine, read for what the request demands of it.
struct DemandedMessage {
    struct Call {
        var name: String
        var arguments: [UInt8]
    }

    private(set) var record: AnswerRecord
    /// What a guided message says; nil where the message stands for itself.
    private(set) var guided: (content: [UInt8]?, calls: [Call])?

    /// - Throws: `MalformedAnswer`, `InvalidAnswer`.
    init(_ message: JSONElement, _ rules: AnswerRules, allowsParallelCalls: Bool) throws {
        record = AnswerRecord(rules)
        record.hasRefused = message["refusal"]?.utf8.map { !$0.isEmpty } ?? false
        for (position, call) in (message["tool_calls"]?.elements ?? .none).enumerated() where position == 0 || allowsParallelCalls {
            guard let function = call["function"], let name = function["name"]?.string, let arguments = function["arguments"]?.utf8 else {
                throw MalformedAnswer()
            }
            record.begin(call: position, name: name)
            record.add(arguments: arguments, toCall: position)
        }
        guard let content = message["content"]?.utf8, !content.isEmpty else { return }
        if rules.guide != nil, record.calls.isEmpty {
            try read(guided: content)
        } else {
            record.add(content: content)
        }
    }

    private mutating func read(guided text: UnsafeRawBufferPointer) throws {
        var content: [UInt8]?
        var calls: [Call] = []
        for event in try record.read(guided: text) {
            switch event {
            case .call(_, let name): calls.append(Call(name: name, arguments: []))
            case .arguments(let number, let piece): calls[number].arguments += piece
            case .content(let piece): content = (content ?? []) + piece
            }
        }
        guided = (content, calls)
    }
}
