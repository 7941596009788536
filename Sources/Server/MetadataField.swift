import JSON
import OpenAI

extension Fields {
    /// The pairs of `metadata` (01 §6): at most 16, names of 1 to 64 characters, texts of at most 512.
    /// - Throws: 400 `invalid_metadata`.
    @discardableResult
    package static func metadata(_ value: JSONElement) throws -> [String: String] {
        func invalid(_ message: String) -> APIError { APIError(.invalidMetadata, message, param: "metadata") }
        guard value.kind == .object else { throw invalid("'metadata' must be an object of strings.") }
        var pairs: [String: String] = [:]
        var count = 0
        for pair in value.members {
            count += 1
            guard count <= 16 else { throw invalid("'metadata' has at most 16 pairs.") }
            let name = pair.name.description
            guard (1...64).contains(name.unicodeScalars.count) else { throw invalid("A key in 'metadata' has 1 to 64 characters.") }
            guard let text = pair.value.string else { throw invalid("The values in 'metadata' must be strings.") }
            guard text.unicodeScalars.count <= 512 else { throw invalid("A value in 'metadata' has at most 512 characters.") }
            pairs[name] = text
        }
        return pairs
    }
}
