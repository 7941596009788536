import Catalog
import Crypto
import JSON
import OpenAI

import struct Routing.PrefixChain
import struct Routing.PrefixHashing

/// Names the beginnings of prompts for the router's prefix index (05 §5): equal beginnings of a project's prompts to a model have equal names, and
/// no text can be read from a name.
public struct PromptNames: Sendable {
    private let hashing: PrefixHashing

    /// - Parameter secret: of the deployment.
    public init(secret: [UInt8]) { hashing = PrefixHashing(salting: secret) }

    /// The chain after a chat's prompt: what comes before the messages is in order of how seldom it changes.
    func chain(ofChat root: JSONElement, at endpoint: EndpointRecord, hasSystemMessage: Bool) throws -> PrefixChain {
        var chain = try self.chain(root, at: endpoint)
        chain.addPart(root["tools"].map(\.text) ?? Self.nothing)
        if let own = endpoint.defaults.systemPrompt, !hasSystemMessage {
            chain.begin(.message, of: "system")
            chain.add(own)
        }
        for message in root["messages"]?.elements ?? .none { Self.add(message, to: &chain) }
        return chain
    }

    /// The chain after the prompt of a text completion; of several prompts, the first.
    func chain(ofCompletion root: JSONElement, at endpoint: EndpointRecord) throws -> PrefixChain {
        var chain = try self.chain(root, at: endpoint)
        guard let prompt = root["prompt"] else { return chain }
        let first = prompt.kind == .array ? prompt.elements.first { _ in true } ?? prompt : prompt
        chain.add(first.utf8 ?? (first.kind == .integer ? prompt.text : first.text))
        return chain
    }

    private func chain(_ root: JSONElement, at endpoint: EndpointRecord) throws -> PrefixChain {
        var chain = try hashing.chain(
            project: endpoint.projectID.description, modelVersion: endpoint.upstreamModel + "@" + endpoint.modelVersion)
        chain.addPart(root["prompt_cache_key"]?.utf8 ?? Self.nothing)
        return chain
    }

    private static var nothing: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    private static func add(_ message: JSONElement, to chain: inout PrefixChain) {
        chain.begin(.message)
        if let role = message["role"]?.utf8 { chain.add(role) }
        // What is beside the text, such as tool calls, as it stands: before the text, which may go on in a longer prompt.
        for member in message.members where !(member.name == "role" || member.name == "content" || member.value.isNull) {
            chain.begin(.member)
            chain.add(member.value.text)
        }
        guard let content = message["content"] else { return }
        chain.begin(.content)
        if let text = content.utf8 { return chain.add(text) }
        for part in content.elements {
            if let text = part["text"]?.utf8 {
                chain.add(text)
            } else {
                // An image may be large, and counts by what it is as a whole.
                chain.begin(.part)
                SHA256.digest(Array(part.text)).bytes.withUnsafeBytes { chain.add($0) }
            }
        }
    }
}

extension PrefixChain {
    /// Bytes that no UTF-8 has, so that no text can pass for the beginning of another part.
    enum Mark: UInt8 { case message = 0xff, content = 0xfe, member = 0xfd, part = 0xfc }

    mutating func begin(_ mark: Mark) { withUnsafeBytes(of: mark.rawValue) { add($0) } }

    /// The text of a message follows.
    mutating func begin(_ mark: Mark, of role: String) {
        begin(mark)
        add(role)
        begin(.content)
    }

    mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
    }
}
