import Foundation
import JSON
import Mesh

/// What an answer says of its tokens, for the router's knowledge of this agent; what is billed, the gateway reads itself.
struct AnswerUsage {
    private(set) var usage: Usage?
    private(set) var cachedTokens: Int?
    private(set) var finishReason: String?

    private static let parser = JSONParser()
    private static let marks = [Data(#""usage""#.utf8), Data(#""finish_reason":""#.utf8), Data(#""finish_reason": ""#.utf8)]

    /// - Parameter event: a chunk of a stream or a whole answer. Few chunks say anything, and only those are parsed.
    mutating func read(_ event: [UInt8]) {
        let data = Data(event)
        guard Self.marks.contains(where: { data.range(of: $0) != nil }) else { return }
        let found = try? event.withUnsafeBytes { bytes in
            try Self.parser.parse(bytes) { root in
                let counts = root["usage"]
                return (
                    prompt: counts?["prompt_tokens"]?.integer, completion: counts?["completion_tokens"]?.integer,
                    cached: counts?["prompt_tokens_details"]?["cached_tokens"]?.integer,
                    reason: root["choices"]?.elements.first { _ in true }?["finish_reason"]?.string
                )
            }
        }
        // What cannot be read the gateway refuses; here it says nothing.
        guard let found else { return }
        if let prompt = found.prompt, prompt >= 0 {
            usage = Usage(promptTokens: prompt, completionTokens: max(0, found.completion ?? 0))
            cachedTokens = found.cached.map { max(0, $0) }
        }
        if let reason = found.reason, reason.utf8.count <= 64 { finishReason = reason }
    }
}
