import Catalog
import JSON
import OpenAI
import Server

/// A checked request for embeddings (02 §14). Its inputs are kept as they were written, for the calls of the model server.
package struct EmbeddingRequest {
    /// Each a JSON string or array of token ids.
    private(set) var inputs: [[UInt8]] = []
    private(set) var isBase64 = false
    private(set) var dimensions: Int?
    private(set) var profile = RoutingProfile.standard
    /// Of all inputs together; token ids count as they are.
    private(set) var tokenEstimate = 0
    /// No tokenizer makes more of the inputs.
    private(set) var mostTokens = 0

    private static let mostInputs = 2_048
    private static let mostTokensInAll = 300_000
    /// So many inputs go to the model server in one call.
    private static let inputsInCall = 64

    package init(checking root: JSONElement, for endpoint: EndpointRecord) throws {
        if let tier = endpoint.defaults.serviceTier.flatMap(RoutingProfile.init(named:)) { profile = tier }
        for member in root.members where !member.value.isNull {
            let value = member.value
            switch member.name {
            case "encoding_format": isBase64 = try Fields.choice(value, "encoding_format", of: ["float", "base64"]) == "base64"
            case "dimensions": dimensions = try Fields.integer(value, "dimensions", in: 1...65_536)
            case "user": _ = try Fields.string(value, "user", atMost: 512)
            case "service_tier": profile = try RoutingProfile(checking: value)
            case "stream": if try Fields.bool(value, "stream") { throw APIError.invalid("stream", "Embeddings are not streamed.") }
            default: break
            }
        }
        guard let input = root["input"], !input.isNull else { throw APIError.missing("input") }
        try read(input, for: endpoint)
        calls = stride(from: 0, to: inputs.count, by: Self.inputsInCall).map { $0..<min($0 + Self.inputsInCall, inputs.count) }
        guard tokenEstimate <= Self.mostTokensInAll else {
            throw APIError.invalid("input", "The inputs have more than \(Self.mostTokensInAll) tokens together.")
        }
    }

    /// A string, strings, token ids, or arrays of them.
    private mutating func read(_ input: JSONElement, for endpoint: EndpointRecord) throws {
        guard input.kind == .array else { return try add(input, "input", endpoint) }
        guard let first = input.elements.first(where: { _ in true }) else { throw APIError.invalid("input", "'input' must not be empty.") }
        guard first.kind == .string || first.kind == .array else { return try add(input, "input", endpoint) }
        for (index, each) in input.elements.enumerated() {
            guard index < Self.mostInputs else { throw APIError.invalid("input", "'input' has more than \(Self.mostInputs) entries.") }
            guard each.kind == first.kind else {
                throw APIError.invalid("input[\(index)]", "The entries of 'input' must all be strings, or all arrays of token ids.")
            }
            try add(each, "input[\(index)]", endpoint)
        }
    }

    private mutating func add(_ input: JSONElement, _ name: String, _ endpoint: EndpointRecord) throws {
        let (estimate, least, most) = try Self.tokens(of: input, name, endpoint.report.vocabulary)
        if let context = endpoint.contextLength, least > context {
            throw APIError(.contextLengthExceeded, "'\(name)' is longer than the model's context of \(context) tokens.", param: name)
        }
        tokenEstimate += estimate
        mostTokens += most
        inputs.append(Array(input.text))
    }

    /// How many tokens an input has, about, at least, and at most.
    private static func tokens(of input: JSONElement, _ name: String, _ vocabulary: Int?) throws -> (Int, Int, Int) {
        if let text = input.utf8 {
            guard text.count > 0 else { throw APIError.invalid(name, "'\(name)' must not be empty.") }
            return ((text.count + 3) / 4, text.count / 6, (text.count + 1) / 2)
        }
        guard input.kind == .array else { throw APIError.invalid(name, "'\(name)' must be a string or an array of token ids.") }
        var count = 0
        for token in input.elements {
            guard let id = token.integer, id >= 0 else {
                throw APIError.invalid("\(name)[\(count)]", "'\(name)[\(count)]' must be a token id.")
            }
            if let vocabulary, id >= vocabulary {
                throw APIError.invalid("\(name)[\(count)]", "The model has no token \(id): its tokens are 0 to \(vocabulary - 1).")
            }
            count += 1
            guard count <= mostInputs else { throw APIError.invalid(name, "'\(name)' has more than \(mostInputs) token ids.") }
        }
        guard count > 0 else { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        return (count, count, count)
    }

    /// The inputs of each call of the model server.
    private(set) var calls: [Range<Int>] = []

    /// The body of one call.
    func body(of call: Range<Int>, for endpoint: EndpointRecord) -> [UInt8] {
        var json = JSONWriter(capacity: inputs[call].reduce(256) { $0 + $1.count + 1 })
        json.raw(#"{"model":"#)
        json.string(endpoint.upstreamModel)
        json.raw(#","encoding_format":"#)
        json.string(isBase64 ? "base64" : "float")
        if let dimensions {
            json.raw(#","dimensions":"#)
            json.integer(dimensions)
        }
        json.raw(#","input":["#)
        for index in call {
            if index > call.lowerBound { json.raw("," as StaticString) }
            json.raw(inputs[index])
        }
        json.raw("]}" as StaticString)
        return json.bytes
    }
}
