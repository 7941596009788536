import Catalog
import JSON

/// What one engine names differently, lacks or gets wrong beside OpenAI's API. Pure: each engine is a value, in a file of its own, and requests and
/// answers are translated by what stands in it.
public struct EngineAdapter: Sendable, Equatable {
    /// What it does by itself of what an answer must be.
    public var traits: EngineTraits
    /// It has the role `developer`; others get such messages as `system`, since chat templates refuse or print a role that they do not know.
    package var knowsDevelopers: Bool
    /// How it counts the tokens of several choices.
    package var counting: Counting
    /// What it makes of `logprobs` without `top_logprobs`.
    package var alternatives: Alternatives
    /// It reads content parts of type `file`; nil = nobody knows, so it is asked.
    package var readsFiles: Bool?
    /// Its prefix cache takes a `cache_salt`; others may refuse a member that they do not know.
    package var saltsCache: Bool
    /// Scores of its `rerank` are logits; others give 0 to 1.
    package var scoresAreLogits: Bool

    package enum Counting: Sendable {
        /// Once, for all of them.
        case together
        /// A stream has a usage chunk for each choice, and the usage of a whole answer is the first choice's alone.
        case apart
        /// Apart where llama.cpp's member `timings` stands beside the usage.
        case recognized
    }

    package enum Alternatives: Sendable {
        /// None, as OpenAI.
        case asAsked
        /// Many; and with `top_logprobs: 0` no logprobs at all. So it is asked for one, which is taken out again.
        case atLeastOne
    }

    /// - Parameter engine: nil = nobody knows: what any of them may need, and promises of none.
    public init(_ engine: Engine?) {
        switch engine {
        case .vLLM: self = .vLLM
        case .llamaCpp: self = .llamaCpp
        case .openAI: self = .openAI
        case nil: self = .unknown
        }
    }

    init(
        traits: EngineTraits, knowsDevelopers: Bool, counting: Counting, alternatives: Alternatives, readsFiles: Bool?,
        saltsCache: Bool = false, scoresAreLogits: Bool = false
    ) {
        self.traits = traits
        self.knowsDevelopers = knowsDevelopers
        self.counting = counting
        self.alternatives = alternatives
        self.readsFiles = readsFiles
        self.saltsCache = saltsCache
        self.scoresAreLogits = scoresAreLogits
    }

    /// Whether the usage in this answer, or this chunk, is that of one choice.
    func countsApart(_ root: JSONElement) -> Bool {
        switch counting {
        case .together: false
        case .apart: true
        case .recognized: root["timings"] != nil
        }
    }

    /// Any OpenAI-compatible server: what is not known to be different is passed on as it stands.
    package static let unknown = EngineAdapter(
        traits: .unknown, knowsDevelopers: true, counting: .recognized, alternatives: .asAsked, readsFiles: nil)
}
