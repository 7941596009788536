import Catalog
import JSON
import OpenAI
import Server

/// `POST score` (02 §15): how near texts are, one to many or pair by pair.
struct ScoreWork: PairWork {
    static let surface = Surface.score

    var pairs: ScoreRequest
    var scores: Scores

    init(checking root: JSONElement, for endpoint: EndpointRecord) throws {
        pairs = try ScoreRequest(checking: root, for: endpoint)
        let (first, firstName) = try Self.texts(root, ["text_1", "query", "queries"])
        let (second, secondName) = try Self.texts(root, ["text_2", "documents", "items"])
        let room = 1_000_000
        if first.count == 1 {
            try pairs.add(first[0], firstName, with: second, room: room, for: endpoint)
        } else {
            guard first.count == second.count else {
                throw APIError.invalid(
                    firstName, "'\(firstName)' must be one text, or as many as '\(secondName)' has: \(second.count), not \(first.count).")
            }
            for (query, document) in zip(first, second) {
                try pairs.add(query, firstName, with: [document], room: room, for: endpoint)
            }
        }
        scores = Scores(count: second.count, areLogits: EngineAdapter(endpoint.engine).scoresAreLogits)
    }

    /// - Returns: the texts of the first of these members that is there, and its name.
    private static func texts(_ root: JSONElement, _ names: [String]) throws -> ([String], String) {
        let found = root.members.first { member in !member.value.isNull && names.contains(member.name.description) }
        guard let found else { throw APIError.missing(names[0]) }
        let name = found.name.description
        guard found.value.kind == .array else { return ([try ScoreRequest.text(found.value, name)], name) }
        return (try ScoreRequest.texts(found.value, name, ScoreRequest.text), name)
    }

    func body(_ identity: PartedIdentity) -> [UInt8] {
        var json = JSONWriter(capacity: 512 + 64 * pairs.documents.count)
        json.raw(#"{"id":"#)
        json.string(identity.requestID)
        json.raw(#","object":"list","created":"#)
        json.integer(identity.created)
        json.raw(#","model":"#)
        json.string(identity.model)
        json.raw(#","data":["#)
        for pair in pairs.documents.indices {
            json.raw(pair == 0 ? #"{"index":"# : #",{"index":"#)
            json.integer(pair)
            json.raw(#","object":"score","score":"#)
            json.number(scores[pair])
            json.raw("}" as StaticString)
        }
        json.raw("]" as StaticString)
        json.usage(promptTokens: identity.promptTokens)
        json.raw(#","x_truncated":"#)
        json.integer(pairs.truncated)
        json.raw("}" as StaticString)
        return json.bytes
    }
}
