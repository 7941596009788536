import Foundation
import JSON
import OpenAI

/// The list of embeddings that the client gets, out of those that the model server gave for each call.
///
/// Vectors pass as they were written where the model server wrote them as the client wants them; otherwise they are converted. A vector that lacks,
/// stands twice, has another size than the rest or a number that is none is no answer.
package struct EmbeddingAnswer {
    private let isBase64: Bool
    private var vectors: [[UInt8]?]
    /// Of each vector; 0 before the first.
    private(set) var size = 0
    /// Summed over the calls; nil where one of them gave none.
    var promptTokens: Int? { sum.tokens }
    private var sum = TokenSum()

    package init(count: Int, isBase64: Bool) {
        vectors = Array(repeating: nil, count: count)
        self.isBase64 = isBase64
    }

    /// Takes the answer to the call for these inputs.
    /// - Throws: `MalformedAnswer`.
    package mutating func add(_ root: JSONElement, of call: Range<Int>) throws {
        guard let data = root["data"], data.kind == .array else { throw MalformedAnswer() }
        for (position, item) in data.elements.enumerated() {
            let place = item["index"]?.integer ?? position
            guard (0..<call.count).contains(place) else { throw MalformedAnswer() }
            let index = call.lowerBound + place
            guard vectors[index] == nil, let embedding = item["embedding"] else { throw MalformedAnswer() }
            vectors[index] = try written(embedding)
        }
        guard vectors[call].allSatisfy({ $0 != nil }) else { throw MalformedAnswer() }
        sum.add(root["usage"])
    }

    private mutating func written(_ embedding: JSONElement) throws -> [UInt8] {
        if let text = embedding.utf8 {
            guard let bytes = Data(base64Encoded: Data(text)), bytes.count % 4 == 0 else { throw MalformedAnswer() }
            let numbers = bytes.withUnsafeBytes { bytes in
                (0..<bytes.count / 4).map {
                    Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)))
                }
            }
            try check(count: numbers.count, areFinite: numbers.allSatisfy(\.isFinite))
            return isBase64 ? Array(embedding.text) : Self.list(numbers)
        }
        guard embedding.kind == .array else { throw MalformedAnswer() }
        var numbers: [Float] = []
        numbers.reserveCapacity(size)
        for element in embedding.elements {
            guard let number = element.number else { throw MalformedAnswer() }
            numbers.append(Float(number))
        }
        try check(count: numbers.count, areFinite: numbers.allSatisfy(\.isFinite))
        return isBase64 ? Self.base64(numbers) : Array(embedding.text)
    }

    private mutating func check(count: Int, areFinite: Bool) throws {
        guard count > 0, areFinite, size == 0 || size == count else { throw MalformedAnswer() }
        size = count
    }

    private static func list(_ numbers: [Float]) -> [UInt8] { Array("[\(numbers.map(\.description).joined(separator: ","))]".utf8) }

    /// Little-endian, with its quotation marks.
    private static func base64(_ numbers: [Float]) -> [UInt8] {
        let bytes = numbers.withUnsafeBufferPointer { numbers in
            numbers.map(\.bitPattern.littleEndian).withUnsafeBytes { Data($0) }
        }
        return Array("\"\(bytes.base64EncodedString())\"".utf8)
    }

    package func body(model: String, promptTokens: Int) -> [UInt8] {
        var json = JSONWriter(capacity: vectors.reduce(512) { $0 + ($1?.count ?? 0) + 64 })
        json.raw(#"{"object":"list","data":["#)
        for (index, vector) in vectors.enumerated() {
            json.raw(index == 0 ? #"{"object":"embedding","index":"# : #",{"object":"embedding","index":"#)
            json.integer(index)
            json.raw(#","embedding":"#)
            json.raw(vector ?? [])
            json.raw("}" as StaticString)
        }
        json.raw(#"],"model":"#)
        json.string(model)
        json.usage(promptTokens: promptTokens)
        json.raw("}" as StaticString)
        return json.bytes
    }
}
