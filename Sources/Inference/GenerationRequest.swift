import JSON
import OpenAI
import Server

/// A checked request for generated text, and what becomes of its answer: a chat, or a text completion. One request may hold several prompts, and each
/// may get several answers.
package protocol GenerationRequest {
    associatedtype Answer: GeneratedAnswer
    associatedtype Grammar: StreamGrammar

    /// Below the upstream's base URL.
    static var path: String { get }
    static var surface: Surface { get }
    static var idPrefix: String { get }

    var options: GenerationOptions { get }
    /// Who answers.
    var adapter: EngineAdapter { get }
    /// The most tokens of an answer, before clamping; nil = not said.
    var maxTokens: Int? { get }
    /// The member that said so.
    var maxTokensName: StaticString { get }
    var prompts: Int { get }
    /// Of all prompts together: for rates, and where the engine counts nothing.
    var promptEstimate: Int { get }
    /// No tokenizer makes more of all prompts.
    var mostPromptTokens: Int { get }
    /// Which the context and the answer's length are measured by.
    var longestPrompt: InputLength { get }

    /// - Throws: `MalformedAnswer`; `InvalidAnswer` where it is not what was demanded.
    func answer(rewriting root: JSONElement, as identity: AnswerIdentity) throws -> Answer
    func grammar(_ identity: AnswerIdentity, vendorEvents: Bool) -> Grammar
}

extension GenerationRequest {
    package var isStream: Bool { options.isStream }
    package var includesUsage: Bool { options.includesUsage }
    /// How many answers are asked for to each prompt.
    package var choices: Int { options.choices }
    /// Answers to all prompts.
    package var answers: Int { prompts * options.choices }
    package var profile: RoutingProfile { options.profile }
    /// What rates and shares reckon with before the answer is known.
    package var usualAnswerTokens: Int { prompts * min(maxTokens ?? 256, 256) }
}

/// How long an input of the model is, about, at least, and at most, in tokens.
package struct InputLength: Equatable {
    /// In errors.
    var name: String
    var estimate: Int
    var least: Int
    var most: Int
}

/// An engine's whole answer in the shape of the API.
package protocol GeneratedAnswer {
    var usage: TokenUsage { get }
    /// The first choice's.
    var finishReason: String { get }
    /// Without `x_metadata` and the closing brace, which the caller adds once it has settled.
    var bytes: [UInt8] { get }
}

/// Turns an engine's chunks into the stream of the API. Pure: chunks in, bytes out.
package protocol StreamGrammar {
    /// True when every choice has had its finish reason.
    var isComplete: Bool { get }
    /// The first choice's, once it has ended.
    var finishReason: String? { get }
    var tally: StreamTally { get }

    /// The frames that one chunk of the engine becomes; often one, sometimes none.
    /// - Throws: `MalformedAnswer`, or `InvalidAnswer` for what is not as demanded; nothing of the chunk must be sent then.
    mutating func receive(_ root: JSONElement) throws -> [UInt8]
    /// Ends every choice that has not ended, for its length: the frames that say so.
    /// - Throws: `InvalidAnswer` where an answer must be complete.
    mutating func cut() throws -> [UInt8]
    /// The usage chunk, for clients that asked for it.
    func usageChunk() -> [UInt8]
    /// The last vendor event; none on surfaces that have no such events.
    mutating func metadataEvent(_ metadata: VendorMetadata) -> [UInt8]
}

extension StreamGrammar {
    /// As the engine reports it. Otherwise by the bytes of an answer that is complete, and by the pieces of one that broke off.
    package var usage: TokenUsage { tally.usage(isComplete: isComplete) }
    package mutating func metadataEvent(_: VendorMetadata) -> [UInt8] { [] }
}

/// Frames that are the same in all streams.
enum StreamFrames {
    static let done = Array("data: [DONE]\n\n".utf8)
    static let keepAlive = Array(": keep-alive\n\n".utf8)
}
