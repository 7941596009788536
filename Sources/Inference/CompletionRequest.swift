import Catalog
import JSON
import OpenAI
import Server

/// A checked request for text completions (02 §17): the members we act on. The rest of the body is passed on as it stands.
package struct CompletionRequest {
    package private(set) var options: GenerationOptions
    package let adapter: EngineAdapter
    /// OpenAI's default, which is short.
    private var tokens = 16
    /// How many likely tokens are shown with each one; nil = no logprobs.
    private(set) var logprobs: Int?
    /// The prompts are said again before their answers.
    private(set) var isEchoed = false
    private var lengths: [InputLength] = []
    /// Of each prompt, how many bytes of text it has; of token ids, about.
    private var textBytes: [Int] = []

    private static let mostPrompts = 16

    /// - Throws: the first failure in the order of the body; what only the whole body shows comes last.
    package init(checking root: JSONElement, for endpoint: EndpointRecord, adapter: EngineAdapter) throws {
        self.adapter = adapter
        options = GenerationOptions(defaults: endpoint.defaults)
        guard let prompt = root["prompt"], !prompt.isNull else { throw APIError.missing("prompt") }
        let inputs = ModelInputs(name: "prompt", most: Self.mostPrompts, allowsEmptyText: true, endpoint: endpoint)
        try inputs.read(prompt) { input, length in
            lengths.append(length)
            textBytes.append(input.utf8?.count ?? 4 * length.estimate)
        }
        var bestOf = 0
        var suffix = false
        var streamOptions: JSONElement?
        for member in root.members where !member.value.isNull {
            let value = member.value
            switch member.name {
            case "max_tokens": tokens = try Fields.integer(value, "max_tokens", in: 0...Int.max)
            case "logprobs": logprobs = try Fields.integer(value, "logprobs", in: 0...5)
            case "echo": isEchoed = try Fields.bool(value, "echo")
            case "suffix": suffix = try !Fields.string(value, "suffix").isEmpty
            case "best_of": bestOf = try Fields.integer(value, "best_of", in: 0...20)
            case "stream_options": streamOptions = value
            case "tools", "tool_choice", "functions", "function_call", "web_search_options", "x_conversation", "x_memory", "x_tools",
                "x_approvals":
                if value.bool == false { continue }
                throw Self.unsupported(member.name.description, "Text completions have no '\(member.name)'.")
            default: try options.read(member)
            }
        }
        if let streamOptions { try options.read(streamOptions: streamOptions) }
        try checkTogether(bestOf: bestOf, hasSuffix: suffix)
    }

    private func checkTogether(bestOf: Int, hasSuffix: Bool) throws {
        if bestOf > choices { throw Self.unsupported("best_of", "'best_of' must not be greater than 'n'.") }
        if isEchoed, !adapter.traits.echoesPrompts {
            throw Self.unsupported("echo", "The model server does not repeat prompts.")
        }
        if hasSuffix, !adapter.traits.completesBeforeSuffixes {
            throw Self.unsupported("suffix", "The model server does not complete text before a suffix.")
        }
        // Nothing but the prompt.
        if tokens == 0, !adapter.traits.echoesPrompts { throw APIError.invalid("max_tokens", "'max_tokens' must be at least 1.") }
        if options.wantsVendorEvents {
            throw Self.unsupported("stream_options.x_events", "Text completions have no vendor events.")
        }
    }

    private static func unsupported(_ name: String, _ message: String) -> APIError { APIError(.unsupportedParameter, message, param: name) }

    /// How many bytes of a choice's text are its prompt, about.
    func echoedBytes(ofChoice index: Int) -> Int { isEchoed ? textBytes[prompt(ofChoice: index)] : 0 }

    /// All choices of a prompt come before those of the next.
    func prompt(ofChoice index: Int) -> Int { index / choices }

    /// All prompts, where the engine counted the first.
    func promptTokens(first counted: Int) -> Int {
        let first = max(1, lengths[0].estimate)
        return counted + (counted * (promptEstimate - lengths[0].estimate) + first - 1) / first
    }
}

extension CompletionRequest: GenerationRequest {
    package static var path: String { "completions" }
    package static var surface: Surface { .completions }
    package static var idPrefix: String { TextCompletion.idPrefix }

    package var maxTokens: Int? { tokens }
    package var maxTokensName: StaticString { "max_tokens" }
    package var prompts: Int { lengths.count }
    package var promptEstimate: Int { lengths.reduce(0) { $0 + $1.estimate } }
    package var mostPromptTokens: Int { lengths.reduce(0) { $0 + $1.most } }
    package var longestPrompt: InputLength { lengths.max { $0.estimate < $1.estimate } ?? lengths[0] }

    package func answer(rewriting root: JSONElement, as identity: AnswerIdentity) throws -> CompletionAnswer {
        try CompletionAnswer(rewriting: root, as: identity, self)
    }

    package func grammar(_ identity: AnswerIdentity, vendorEvents _: Bool) -> CompletionStreamGrammar {
        CompletionStreamGrammar(identity, self)
    }
}

extension UpstreamBody {
    /// The body of a request for text completions.
    package init(of root: JSONElement, _ asked: CompletionRequest, for endpoint: EndpointRecord, cacheSalt: String? = nil) throws {
        try self.init(limiting: asked, for: endpoint)
        // Without alternatives such an engine gives no logprobs.
        let needsAlternative = asked.logprobs == 0 && asked.adapter.alternatives == .atLeastOne
        for member in root.members where !Self.isLeftOut(member) {
            switch member.name {
            // It is `n`, or nothing.
            case "best_of": continue
            case "logprobs" where needsAlternative: add("logprobs", 1)
            default: copy(member)
            }
        }
        finish(asked.options, for: endpoint, cacheSalt: cacheSalt)
    }
}
