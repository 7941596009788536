import Catalog
import JSON
import Server

/// Work on pairs of texts, which engines judge by one call: rerank and score differ in what they read and what they make of the scores.
protocol PairWork: PartedWork {
    var pairs: ScoreRequest { get set }
    var scores: Scores { get set }
}

extension PairWork {
    static var path: String { "rerank" }

    var profile: RoutingProfile { pairs.profile }
    var tokenEstimate: Int { pairs.tokenEstimate }
    var mostTokens: Int { pairs.mostTokens }
    var parts: Int { pairs.calls.count }
    var promptTokens: Int? { scores.promptTokens }

    func body(of part: Int, for endpoint: EndpointRecord) -> [UInt8] { pairs.body(of: pairs.calls[part], for: endpoint) }
    mutating func shorten(_ part: Int) -> Bool { pairs.shorten(part) }
    func longest(_ part: Int) -> String { pairs.calls[part].name }
    mutating func add(_ root: JSONElement, of part: Int) throws { try scores.add(root, of: pairs.calls[part].pairs) }
}
