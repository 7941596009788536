import Catalog
import JSON
import OpenAI
import Server

/// `POST rerank` (02 §15): documents by how well they answer a query.
struct RerankWork: PairWork {
    static let surface = Surface.rerank

    var pairs: ScoreRequest
    var scores: Scores
    private var topCount = Int.max
    /// What the answer repeats; empty where it does not.
    private var shown: [String] = []

    init(checking root: JSONElement, for endpoint: EndpointRecord) throws {
        pairs = try ScoreRequest(checking: root, for: endpoint)
        guard let query = root["query"], !query.isNull else { throw APIError.missing("query") }
        let text = try ScoreRequest.text(query, "query")
        guard let documents = root["documents"], !documents.isNull else { throw APIError.missing("documents") }
        try Fields.array(documents, "documents")
        let texts = try ScoreRequest.texts(documents, "documents") { document, name in
            guard document.kind == .object else { return try ScoreRequest.text(document, name) }
            guard let text = document["text"] else { throw APIError.missing("\(name).text") }
            return try ScoreRequest.text(text, "\(name).text")
        }
        if let top = root["top_n"], !top.isNull { topCount = try Fields.integer(top, "top_n", in: 1...Int.max) }
        if let isShown = root["return_documents"], !isShown.isNull, try Fields.bool(isShown, "return_documents") { shown = texts }
        var room = 4_096
        if let most = root["max_tokens_per_doc"], !most.isNull { room = try Fields.integer(most, "max_tokens_per_doc", in: 1...1_000_000) }
        try pairs.add(text, "query", with: texts, room: room, for: endpoint)
        scores = Scores(count: texts.count, areLogits: EngineAdapter(endpoint.engine).scoresAreLogits)
    }

    func body(_ identity: PartedIdentity) -> [UInt8] {
        var json = JSONWriter(capacity: 512 + 128 * pairs.documents.count)
        json.raw(#"{"id":"#)
        json.string(identity.requestID)
        json.raw(#","object":"rerank","model":"#)
        json.string(identity.model)
        json.raw(#","results":["#)
        for (place, pair) in scores.ranking.prefix(topCount).enumerated() {
            json.raw(place == 0 ? #"{"index":"# : #",{"index":"#)
            json.integer(pair)
            json.raw(#","relevance_score":"#)
            json.number(scores[pair])
            if !shown.isEmpty {
                json.raw(#","document":{"text":"#)
                json.string(shown[pair])
                json.raw("}" as StaticString)
            }
            json.raw("}" as StaticString)
        }
        json.raw("]" as StaticString)
        json.usage(promptTokens: identity.promptTokens)
        // One for each hundred documents, as other services count them.
        json.raw(#","meta":{"billed_units":{"search_units":"#)
        json.integer((pairs.documents.count + 99) / 100)
        json.raw(#"}},"x_truncated":"#)
        json.integer(pairs.truncated)
        json.raw("}" as StaticString)
        return json.bytes
    }
}
