import JSON

import struct Routing.PrefixChain

/// Goes on with the names of a prompt through its answer, which the next prompt of a conversation begins with (05 §5). It belongs to the request's
/// thread.
final class AnswerNames {
    private let prompt: PrefixChain
    private let isChat: Bool
    private var chain: PrefixChain

    init(after prompt: PrefixChain, isChat: Bool) {
        (self.prompt, self.isChat, chain) = (prompt, isChat, prompt)
        begin()
    }

    /// Another attempt gives another answer.
    func begin() {
        chain = prompt
        if isChat { chain.begin(.message, of: "assistant") }
    }

    /// - Parameter root: a chunk of a stream, or a whole answer.
    func take(_ root: JSONElement) {
        guard let choice = root["choices"]?.elements.first(where: { _ in true }) else { return }
        let text = isChat ? (choice["delta"] ?? choice["message"])?["content"] : choice["text"]
        if let text = text?.utf8 { chain.add(text) }
    }

    /// Of prompt and answer; nil where the answer has made no whole block.
    var names: [UInt64]? { chain.hashes.count > prompt.hashes.count ? chain.hashes : nil }
}
