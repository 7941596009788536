import Catalog
import JSON
import OpenAI
import Server

/// Reads what a model is given as one text, several texts, token ids, or several arrays of them: `input` of embeddings (02 §14), `prompt` of text
/// completions (02 §17).
struct ModelInputs {
    let name: String
    /// How many inputs there may be.
    let most: Int
    /// How many token ids an input may have; nil = as many as the context.
    var mostTokens: Int?
    /// Texts may be empty.
    var allowsEmptyText = false
    let endpoint: EndpointRecord

    /// - Parameter take: gets each input, and how long it is.
    func read(_ value: JSONElement, _ take: (JSONElement, InputLength) throws -> Void) throws {
        guard value.kind == .array else { return try take(value, length(of: value, name)) }
        guard let first = value.elements.first(where: { _ in true }) else { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        guard first.kind == .string || first.kind == .array else { return try take(value, length(of: value, name)) }
        for (index, each) in value.elements.enumerated() {
            guard index < most else { throw APIError.invalid(name, "'\(name)' has more than \(most) entries.") }
            guard each.kind == first.kind else {
                throw APIError.invalid("\(name)[\(index)]", "The entries of '\(name)' must all be strings, or all arrays of token ids.")
            }
            try take(each, length(of: each, "\(name)[\(index)]"))
        }
    }

    private func length(of input: JSONElement, _ name: String) throws -> InputLength {
        let length = try input.utf8.map { try self.length(ofText: $0, name) } ?? self.length(ofTokens: input, name)
        if let context = endpoint.mostContext, length.least > context {
            throw APIError(.contextLengthExceeded, "'\(name)' is longer than the model's context of \(context) tokens.", param: name)
        }
        return length
    }

    private func length(ofText text: UnsafeRawBufferPointer, _ name: String) throws -> InputLength {
        guard allowsEmptyText || text.count > 0 else { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        return InputLength(name: name, estimate: (text.count + 3) / 4, least: text.count / 6, most: (text.count + 1) / 2)
    }

    private func length(ofTokens input: JSONElement, _ name: String) throws -> InputLength {
        guard input.kind == .array else { throw APIError.invalid(name, "'\(name)' must be a string or an array of token ids.") }
        let vocabulary = endpoint.report.vocabulary
        var count = 0
        for token in input.elements {
            guard let id = token.integer, id >= 0 else {
                throw APIError.invalid("\(name)[\(count)]", "'\(name)[\(count)]' must be a token id.")
            }
            if let vocabulary, id >= vocabulary {
                throw APIError.invalid("\(name)[\(count)]", "The model has no token \(id): its tokens are 0 to \(vocabulary - 1).")
            }
            count += 1
            if let mostTokens, count > mostTokens { throw APIError.invalid(name, "'\(name)' has more than \(mostTokens) token ids.") }
        }
        guard count > 0 else { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        return InputLength(name: name, estimate: count, least: count, most: count)
    }
}
