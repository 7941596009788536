import Foundation
import JSON
import OpenAI

/// The scores of the pairs of a request, 0 to 1, as far as the model server has given them. One that lacks, stands twice or is none is no answer.
struct Scores {
    private var values: [Double?]
    private var sum = TokenSum()
    private let areLogits: Bool

    var promptTokens: Int? { sum.tokens }

    /// - Parameter areLogits: of the engine's answers; they are brought to 0 to 1.
    init(count: Int, areLogits: Bool) {
        values = Array(repeating: nil, count: count)
        self.areLogits = areLogits
    }

    subscript(pair: Int) -> Double { values[pair] ?? 0 }

    /// Takes the answer to the call for these pairs.
    /// - Throws: `MalformedAnswer`.
    mutating func add(_ root: JSONElement, of pairs: Range<Int>) throws {
        guard let results = root["results"], results.kind == .array else { throw MalformedAnswer() }
        for result in results.elements {
            guard let place = result["index"]?.integer, place >= 0, place < pairs.count, values[pairs.lowerBound + place] == nil,
                let given = result["relevance_score"]?.number
            else { throw MalformedAnswer() }
            let score = areLogits ? 1 / (1 + exp(-given)) : given
            guard (0...1).contains(score) else { throw MalformedAnswer() }
            values[pairs.lowerBound + place] = score
        }
        guard values[pairs].allSatisfy({ $0 != nil }) else { throw MalformedAnswer() }
        sum.add(root["usage"])
    }

    /// Highest first; equal ones in the order of the request.
    var ranking: [Int] { values.indices.sorted { (self[$0], $1) > (self[$1], $0) } }
}
