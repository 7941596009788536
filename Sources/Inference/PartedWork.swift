import Catalog
import JSON
import OpenAI
import Server

/// A request that is answered as a whole, in as many calls of the model server as it takes: embeddings, rerank, score. All or nothing.
protocol PartedWork {
    /// Below the upstream's base URL.
    static var path: String { get }
    static var surface: Surface { get }
    var profile: RoutingProfile { get }
    /// Of all inputs together.
    var tokenEstimate: Int { get }
    /// No tokenizer makes more of the inputs.
    var mostTokens: Int { get }
    /// How many calls it takes.
    var parts: Int { get }
    /// What one call sends.
    func body(of part: Int, for endpoint: EndpointRecord) -> [UInt8]
    /// Makes a call shorter that the model server has found longer than its context.
    /// - Returns: false where it cannot be, and the request fails.
    mutating func shorten(_ part: Int) -> Bool
    /// The member that is then too long.
    func longest(_ part: Int) -> String
    /// Takes the answer to one call.
    /// - Throws: `MalformedAnswer`; `APIError` for what the request may not ask of this model.
    mutating func add(_ root: JSONElement, of part: Int) throws
    /// As the engine counted them in all calls; nil where it did not.
    var promptTokens: Int? { get }
    /// The answer, once all calls are answered.
    func body(_ identity: PartedIdentity) -> [UInt8]
}

/// What an answer says of itself.
struct PartedIdentity {
    var requestID: String
    /// Unix seconds.
    var created: Int
    var model: String
    var promptTokens: Int
}

extension JSONWriter {
    /// The usage of an answer without output, as the last member of its object.
    mutating func usage(promptTokens: Int) {
        raw(#","usage":{"prompt_tokens":"#)
        integer(promptTokens)
        raw(#","total_tokens":"#)
        integer(promptTokens)
        raw("}" as StaticString)
    }
}

/// Sums what an engine counts in several calls; nil once it did not.
struct TokenSum {
    private(set) var tokens: Int? = 0

    mutating func add(_ usage: JSONElement?) {
        let counted = TokenUsage(usage)?.input
        tokens = tokens.flatMap { sum in counted.map { sum + $0 } }
    }
}
