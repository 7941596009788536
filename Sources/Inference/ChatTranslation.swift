import JSON
import OpenAI

/// Rewrites what few requests have, before they are read for good: legacy functions become tools (02 §6), developers become `system` for engines that
/// do not know the role, and URLs of images become placeholders for what will be fetched. Pure: JSON to JSON.
package struct ChatTranslation {
    /// `functions`, `function_call`, and messages with `function_call` or of the role `function`.
    private let hasFunctions: Bool
    private let developersAreSystem: Bool
    private let requestID: String
    private var json = JSONWriter(capacity: 4096)
    private var imageCount = 0
    /// The index of the last message with a `function_call`.
    private var lastCall: Int?

    /// - Returns: nil where there is nothing to rewrite.
    package init?(for chat: ChatRequest, requestID: String) {
        hasFunctions = chat.hasLegacyFunctions
        developersAreSystem = chat.hasDevelopers && !chat.adapter.knowsDevelopers
        self.requestID = requestID
        if !hasFunctions, !developersAreSystem, chat.parts.remoteImages.isEmpty { return nil }
    }

    package func rewritten(_ root: JSONElement) -> [UInt8] {
        var copy = self
        copy.write(root)
        return copy.json.bytes
    }

    /// An error about what was rewritten, in the words of what was sent.
    package func inOldWords(_ error: any Error) -> any Error {
        guard hasFunctions, var error = error as? APIError, let param = error.param else { return error }
        let (old, new) =
            if param.hasPrefix("tools") {
                (param, param.replacing(".function", with: "", maxReplacements: 1).replacing("tools", with: "functions"))
            } else if param.hasPrefix("tool_choice") {
                (param, param.replacing("tool_choice.function", with: "function_call").replacing("tool_choice", with: "function_call"))
            } else if param.hasSuffix(".tool_call_id") { (param, param.replacing(".tool_call_id", with: ".name")) } else { (param, param) }
        error.param = new
        error.message = error.message.replacing(old, with: new)
        return error
    }

    // MARK: Members

    private mutating func write(_ root: JSONElement) {
        json.raw("{" as StaticString)
        var isFirst = true
        for member in root.members {
            if hasFunctions, member.name == "parallel_tool_calls" { continue }
            if !isFirst { json.raw("," as StaticString) }
            isFirst = false
            switch member.name {
            case "functions" where member.value.kind == .array: tools(member.value)
            case "function_call" where hasFunctions: choice(member.value)
            case "messages" where member.value.kind == .array: messages(member.value)
            default: copy(member)
            }
        }
        if hasFunctions { json.raw(#","parallel_tool_calls":false"#) }
        json.raw("}" as StaticString)
    }

    private mutating func tools(_ functions: JSONElement) {
        json.raw(#""tools":["#)
        for (index, function) in functions.elements.enumerated() {
            json.raw(index == 0 ? #"{"type":"function","function":"# as StaticString : #",{"type":"function","function":"# as StaticString)
            json.raw(function.text)
            json.raw("}" as StaticString)
        }
        json.raw("]" as StaticString)
    }

    private mutating func choice(_ value: JSONElement) {
        json.raw(#""tool_choice":"#)
        guard value.kind == .object else { return json.raw(value.text) }
        json.raw(#"{"type":"function","function":"#)
        json.raw(value.text)
        json.raw("}" as StaticString)
    }

    private mutating func copy(_ member: JSONElement.Member) {
        json.string(member.name.utf8)
        json.raw(":" as StaticString)
        json.raw(member.value.text)
    }

    // MARK: Messages

    private mutating func messages(_ list: JSONElement) {
        json.raw(#""messages":["#)
        for (index, message) in list.elements.enumerated() {
            if index > 0 { json.raw("," as StaticString) }
            write(message: message, index)
        }
        json.raw("]" as StaticString)
    }

    private mutating func write(message: JSONElement, _ index: Int) {
        guard message.kind == .object else { return json.raw(message.text) }
        let isAnswer = hasFunctions && message["role"]?.string == "function"
        json.raw("{" as StaticString)
        var isFirst = true
        for member in message.members {
            if isAnswer, member.name == "name" { continue }
            if hasFunctions, member.name == "function_call", member.value.isNull { continue }
            if !isFirst { json.raw("," as StaticString) }
            isFirst = false
            switch member.name {
            case "role" where isAnswer:
                json.raw(#""role":"tool","tool_call_id":"#)
                json.string(lastCall.map(Self.callID) ?? "")
            case "role" where developersAreSystem && member.value.string == "developer": json.raw(#""role":"system""#)
            case "function_call" where hasFunctions:
                lastCall = index
                json.raw(#""tool_calls":[{"id":"#)
                json.string(Self.callID(index))
                json.raw(#","type":"function","function":"#)
                json.raw(member.value.text)
                json.raw("}]" as StaticString)
            case "content" where member.value.kind == .array: content(member.value)
            default: copy(member)
            }
        }
        json.raw("}" as StaticString)
    }

    /// Calls of old had no ids.
    private static func callID(_ index: Int) -> String { "call_of_message_\(index)" }

    private mutating func content(_ parts: JSONElement) {
        json.raw(#""content":["#)
        for (index, part) in parts.elements.enumerated() {
            if index > 0 { json.raw("," as StaticString) }
            guard let image = part["image_url"], let url = image["url"], url.utf8?.starts(with: "http".utf8) == true else {
                json.raw(part.text)
                continue
            }
            // All around the URL stays as it is.
            json.raw(UnsafeRawBufferPointer(rebasing: part.text[..<(url.range.lowerBound - part.range.lowerBound)]))
            json.string(RemoteImage.placeholder(imageCount, of: requestID))
            json.raw(UnsafeRawBufferPointer(rebasing: part.text[(url.range.upperBound - part.range.lowerBound)...]))
            imageCount += 1
        }
        json.raw("]" as StaticString)
    }
}
