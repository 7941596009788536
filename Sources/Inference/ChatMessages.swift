import JSON
import OpenAI

/// Checks `messages` (02 §1, §2, §6) and measures them.
struct ChatMessages {
    /// UTF-8 bytes of all text the model will read.
    private(set) var textBytes = 0
    private(set) var hasSystemMessage = false
    private(set) var hasDevelopers = false
    /// Calls and answers of the form that was there before tools.
    private(set) var hasLegacyFunctions = false
    private(set) var parts = ContentParts()

    private static let roles: [String] = ["system", "developer", "user", "assistant", "tool", "function"]
    private static let userParts = ["text", "image_url", "input_audio", "file"]
    private static let countLimit = 2_048
    private static let textLimit = 10 << 20
    private static let callLimit = 128

    private let isTranslated: Bool
    /// Calls of the last assistant message that no tool message has answered yet.
    private var openCalls: [String] = []
    private var answeredCalls: Set<String> = []
    /// Another than that of the request, which is busy.
    private lazy var argumentsParser = JSONParser()

    /// - Parameter isTranslated: it has been through `ChatTranslation`.
    init(checking value: JSONElement?, isTranslated: Bool = false) throws {
        self.isTranslated = isTranslated
        guard let value, !value.isNull else { throw APIError.missing("messages") }
        guard value.kind == .array else { throw Self.invalid("messages", "'messages' must be an array.") }
        var index = 0
        for message in value.elements {
            guard index < Self.countLimit else { throw Self.invalid("messages", "'messages' has more than \(Self.countLimit) items.") }
            try check(message, Place(index: index))
            index += 1
        }
        guard index > 0 else { throw Self.invalid("messages", "'messages' must not be empty.") }
    }

    /// `messages[3]`, made into text only where something is wrong.
    private struct Place: CustomStringConvertible {
        let index: Int
        var description: String { "messages[\(index)]" }
    }

    private static func invalid(_ param: String, _ message: String) -> APIError { APIError(.invalidMessages, message, param: param) }

    private mutating func check(_ message: JSONElement, _ path: Place) throws {
        guard message.kind == .object else { throw Self.invalid("\(path)", "'\(path)' must be an object.") }
        guard let role = message["role"] else { throw Self.invalid("\(path).role", "'\(path).role' is missing.") }
        guard let name = role.string, Self.roles.contains(name) else {
            throw Self.invalid("\(path).role", "'\(path).role' must be one of \(Self.roles.joined(separator: ", ")).")
        }
        let content = message["content"]
        let before = textBytes
        switch name {
        case "assistant": try checkAssistant(message, content, path)
        case "tool": try checkTool(message, content, path)
        case "function":
            hasLegacyFunctions = true
            guard message["name"]?.string != nil else { throw Self.invalid("\(path).name", "'\(path).name' must be a string.") }
            if let content, !content.isNull { try checkText(content, "\(path).content", parts: ["text"]) }
        default:
            if name != "user" { hasSystemMessage = true }
            if name == "developer" { hasDevelopers = true }
            try checkCallsAnswered(path)
            guard let content, !content.isNull else { throw Self.invalid("\(path).content", "'\(path).content' is missing.") }
            try checkText(content, "\(path).content", parts: name == "user" ? Self.userParts : ["text"])
        }
        if let author = message["name"], !author.isNull, author.string == nil {
            throw Self.invalid("\(path).name", "'\(path).name' must be a string.")
        }
        if textBytes - before > Self.textLimit {
            throw APIError(.requestTooLarge, "The text of '\(path)' is larger than \(Self.textLimit) bytes.", param: "\(path)")
        }
    }

    // MARK: Content

    private mutating func checkText(_ content: JSONElement, _ path: @autoclosure () -> String, parts allowed: [String]) throws {
        if let text = content.utf8 {
            textBytes += text.count
            return
        }
        let path = path()
        guard content.kind == .array else { throw Self.invalid(path, "'\(path)' must be a string or an array of content parts.") }
        var index = 0
        for part in content.elements {
            try checkPart(part, "\(path)[\(index)]", allowed)
            index += 1
        }
        guard index > 0 else { throw Self.invalid(path, "'\(path)' must not be an empty array.") }
    }

    private mutating func checkPart(_ part: JSONElement, _ path: String, _ allowed: [String]) throws {
        guard part.kind == .object, let type = part["type"]?.string else {
            throw Self.invalid(path, "'\(path)' must be an object with a 'type'.")
        }
        guard allowed.contains(type) else {
            throw APIError(.unsupportedContent, "Content of type '\(type.prefix(64))' is not supported here.", param: "\(path).type")
        }
        switch type {
        case "text":
            guard let text = part["text"]?.utf8 else { throw Self.invalid("\(path).text", "'\(path).text' must be a string.") }
            textBytes += text.count
        case "refusal":
            guard let text = part["refusal"]?.utf8 else { throw Self.invalid("\(path).refusal", "'\(path).refusal' must be a string.") }
            textBytes += text.count
        case "image_url": try parts.readImage(part, path, isTranslated: isTranslated)
        case "input_audio": try parts.readAudio(part, path)
        default: try parts.readFile(part, path)
        }
    }

    // MARK: Tool calls

    private mutating func checkAssistant(_ message: JSONElement, _ content: JSONElement?, _ path: Place) throws {
        try checkCallsAnswered(path)
        let calls = message["tool_calls"].flatMap { $0.isNull ? nil : $0 }
        let hasFunctionCall = try checkFunctionCall(message["function_call"], path)
        if let content, !content.isNull {
            try checkText(content, "\(path).content", parts: ["text", "refusal"])
        } else if calls == nil, !hasFunctionCall, message["refusal"]?.string == nil {
            throw Self.invalid("\(path).content", "'\(path).content' is needed in a message without tool calls.")
        }
        guard let calls else { return }
        guard calls.kind == .array else { throw Self.invalid("\(path).tool_calls", "'\(path).tool_calls' must be an array.") }
        answeredCalls = []
        var index = 0
        for call in calls.elements {
            guard index < Self.callLimit else {
                throw Self.invalid("\(path).tool_calls", "'\(path).tool_calls' has more than \(Self.callLimit) items.")
            }
            let callPath = "\(path).tool_calls[\(index)]"
            guard let id = call["id"]?.string, !id.isEmpty else {
                throw Self.invalid("\(callPath).id", "'\(callPath).id' must be a string.")
            }
            guard let function = call["function"], let name = function["name"]?.utf8, let arguments = function["arguments"]?.utf8 else {
                throw Self.invalid("\(callPath).function", "'\(callPath).function' must have the strings 'name' and 'arguments'.")
            }
            try checkJSON(arguments, "\(callPath).function.arguments")
            guard !openCalls.contains(id) else {
                throw APIError(.invalidToolSequence, "The tool call id '\(id.prefix(64))' stands twice.", param: "\(callPath).id")
            }
            textBytes += name.count + arguments.count
            openCalls.append(id)
            index += 1
        }
    }

    private mutating func checkFunctionCall(_ call: JSONElement?, _ path: Place) throws -> Bool {
        guard let call, !call.isNull else { return false }
        guard let name = call["name"]?.utf8, let arguments = call["arguments"]?.utf8 else {
            throw Self.invalid("\(path).function_call", "'\(path).function_call' must have the strings 'name' and 'arguments'.")
        }
        try checkJSON(arguments, "\(path).function_call.arguments")
        hasLegacyFunctions = true
        textBytes += name.count + arguments.count
        return true
    }

    /// Chat templates read the arguments of past calls, and some engines fail as a whole where they cannot. Without any, they may be empty.
    private mutating func checkJSON(_ arguments: UnsafeRawBufferPointer, _ path: @autoclosure () -> String) throws {
        if arguments.isEmpty { return }
        do {
            try argumentsParser.parse(arguments) { _ in }
        } catch {
            let path = path()
            throw Self.invalid(path, "'\(path)' must be JSON.")
        }
    }

    private mutating func checkTool(_ message: JSONElement, _ content: JSONElement?, _ path: Place) throws {
        guard let id = message["tool_call_id"]?.string else {
            throw APIError(.invalidToolSequence, "'\(path).tool_call_id' must name a tool call.", param: "\(path).tool_call_id")
        }
        guard let content, !content.isNull else { throw Self.invalid("\(path).content", "'\(path).content' is missing.") }
        try checkText(content, "\(path).content", parts: ["text"])
        guard let open = openCalls.firstIndex(of: id) else {
            let reason = answeredCalls.contains(id) ? "was answered already" : "is not in the preceding assistant message"
            throw APIError(.invalidToolSequence, "The tool call '\(id.prefix(64))' \(reason).", param: "\(path).tool_call_id")
        }
        openCalls.remove(at: open)
        answeredCalls.insert(id)
    }

    /// Before the next turn each call needs its answer.
    private mutating func checkCallsAnswered(_ path: Place) throws {
        guard let id = openCalls.first else { return }
        throw APIError(.invalidToolSequence, "The tool call '\(id.prefix(64))' has no answer before '\(path)'.", param: "\(path)")
    }
}
