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
    private(set) var profile: RoutingProfile
    /// Of all inputs together; token ids count as they are.
    private(set) var tokenEstimate = 0
    /// No tokenizer makes more of the inputs.
    private(set) var mostTokens = 0

    private static let mostInputs = 2_048
    private static let mostTokensInAll = 300_000
    /// So many inputs go to the model server in one call.
    private static let inputsInCall = 64

    package init(checking root: JSONElement, for endpoint: EndpointRecord) throws {
        profile = RoutingProfile(defaults: endpoint.defaults)
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
        let reader = ModelInputs(name: "input", most: Self.mostInputs, mostTokens: Self.mostInputs, endpoint: endpoint)
        try reader.read(input) { input, length in
            tokenEstimate += length.estimate
            mostTokens += length.most
            inputs.append(Array(input.text))
        }
        calls = stride(from: 0, to: inputs.count, by: Self.inputsInCall).map { $0..<min($0 + Self.inputsInCall, inputs.count) }
        guard tokenEstimate <= Self.mostTokensInAll else {
            throw APIError.invalid("input", "The inputs have more than \(Self.mostTokensInAll) tokens together.")
        }
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
