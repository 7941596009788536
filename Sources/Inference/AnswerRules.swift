import JSON
import JSONSchema
import OpenAI
import Server

/// What the answer to a chat must be beyond its form (02 §2, §6), and what the engine is sent so that it is. A chat that asks for nothing has none.
package final class AnswerRules: Sendable {
    enum Content: Sendable {
        case anything
        case object
        case schema(JSONSchema)
    }

    /// What an answer must be that calls nothing and refuses nothing.
    let content: Content
    /// The schemas of strict tools, by their names.
    let arguments: [String: JSONSchema]
    /// The tools that may be called; nil = whatever the engine calls.
    let callable: Set<String>?
    let mustCall: Bool
    let guide: CallGuide?
    /// Members of the client's body that the engine gets otherwise, or not at all (nil).
    let replaced: [String: [UInt8]?]
    private let parser = JSONParser()

    init(
        content: Content, arguments: [String: JSONSchema], callable: Set<String>?, mustCall: Bool, guide: CallGuide?,
        replaced: [String: [UInt8]?]
    ) {
        self.content = content
        self.arguments = arguments
        self.callable = callable
        self.mustCall = mustCall
        self.guide = guide
        self.replaced = replaced
    }

    var keepsContent: Bool { if case .anything = content { false } else { true } }

    /// Checks one choice of an answer that is complete.
    /// - Throws: `InvalidAnswer`.
    func check(_ said: AnswerRecord, finishReason: String) throws {
        if said.hasRefused || finishReason == "content_filter" { return }
        let isCut = finishReason == "length"
        for call in said.calls { try check(call, isCut: isCut) }
        guard said.calls.isEmpty else { return }
        if mustCall {
            // At its token limit it had not come to a call; that is what `length` says.
            if isCut { return }
            throw InvalidAnswer(.toolArgumentsInvalid, "The model did not call a tool.", isCut: false)
        }
        try check(content: said.content, isCut: isCut)
    }

    private func check(_ call: AnswerRecord.Call, isCut: Bool) throws {
        if let callable, !callable.contains(call.name) {
            throw InvalidAnswer(.toolArgumentsInvalid, "The model called a tool that it was not offered.", isCut: false)
        }
        guard let schema = arguments[call.name] else { return }
        if let reason = violation(of: .schema(schema), in: call.arguments) {
            let message =
                isCut
                ? "The answer was cut at its token limit before the arguments of '\(call.name)' were complete."
                : "The model's arguments for '\(call.name)' are invalid: \(reason)."
            throw InvalidAnswer(.toolArgumentsInvalid, message, isCut: isCut)
        }
    }

    private func check(content said: [UInt8], isCut: Bool) throws {
        guard let reason = violation(of: content, in: said) else { return }
        let message =
            isCut ? "The answer was cut at its token limit before it was complete JSON." : "The model's answer is invalid: \(reason)."
        throw InvalidAnswer(.upstreamInvalidResponse, message, isCut: isCut)
    }

    private func violation(of content: Content, in text: [UInt8]) -> String? {
        if case .anything = content { return nil }
        do {
            return try parser.parse(text) { value in
                switch content {
                case .anything: nil
                case .object: value.kind == .object ? nil : "it is no JSON object"
                case .schema(let schema): try schema.violation(in: value)?.description
                }
            }
        } catch is SchemaError {
            return "it is too large to be checked"
        } catch {
            return "it is not JSON"
        }
    }
}

/// What one choice of an answer has said so far.
struct AnswerRecord {
    struct Call {
        var name: String
        /// Kept for strict tools alone.
        var arguments: [UInt8] = []
    }

    /// Reads what a guided engine says; nil where it says what it means.
    private(set) var guided: GuidedAnswer?
    private var hasGuidedText = false
    /// Kept where it must be something.
    private(set) var content: [UInt8] = []
    private(set) var calls: [Call] = []
    var hasRefused = false
    private let rules: AnswerRules
    /// The places of calls by the numbers that the engine gives them.
    private var places: [Int: Int] = [:]

    init(_ rules: AnswerRules) {
        self.rules = rules
        guided = rules.guide.map { GuidedAnswer($0.shape) }
    }

    mutating func add(content text: some Sequence<UInt8>) {
        if rules.keepsContent { content += text }
    }

    mutating func begin(call number: Int, name: String) {
        places[number] = calls.count
        calls.append(Call(name: name))
    }

    mutating func add(arguments: some Sequence<UInt8>, toCall number: Int) {
        guard let place = places[number], rules.arguments[calls[place].name] != nil else { return }
        calls[place].arguments += arguments
    }

    /// - Returns: the calls and the text that a guided engine says; they are in the record already.
    /// - Throws: `InvalidAnswer` where it does not say it as it was told to.
    mutating func read(guided text: UnsafeRawBufferPointer) throws -> [GuidedAnswer.Event] {
        hasGuidedText = true
        guard let events = try? guided?.receive(text) else { throw Self.unguided }
        for event in events {
            switch event {
            case .call(let number, let name): begin(call: number, name: name)
            case .arguments(let number, let piece): add(arguments: piece, toCall: number)
            case .content(let piece): add(content: piece)
            }
        }
        return events
    }

    private static let unguided = InvalidAnswer(.toolArgumentsInvalid, "The model did not call a tool as it was told to.", isCut: false)

    /// - Returns: the finish reason as the client gets it.
    /// - Throws: `InvalidAnswer`.
    func finished(_ reason: String) throws -> String {
        if hasGuidedText, let guided, !guided.isComplete, reason == "stop" { throw Self.unguided }
        try rules.check(self, finishReason: reason)
        // A guided call is plain text to the engine.
        return hasGuidedText && reason == "stop" && !calls.isEmpty ? "tool_calls" : reason
    }
}

/// The engine's answer has the right form, but is not what the request demands.
struct InvalidAnswer: APIErrorConvertible {
    let code: ErrorCode
    let message: String
    /// It ended at its token limit; asking again would end there, too.
    let isCut: Bool

    init(_ code: ErrorCode, _ message: String, isCut: Bool) {
        self.code = code
        self.message = message
        self.isCut = isCut
    }

    var apiError: APIError { APIError(code, message) }
}
