import Catalog
import JSON
import OpenAI
import Server

/// Pairs of texts whose nearness the model server judges: those of a checked request to rerank documents or to score texts (02 §15).
struct ScoreRequest {
    /// Pairs that one call of the model server judges: they have one query.
    struct Call {
        /// A JSON string, with its quotation marks.
        var query: [UInt8]
        /// The query in errors.
        var name: String
        /// Of the pairs, in the order of the request.
        var pairs: Range<Int>
        /// Documents of so many bytes fit surely, if the query does; nil where nobody knows the context, and where they are that short already.
        var sureBytes: Int?
    }

    private(set) var calls: [Call] = []
    /// Of each pair the second text, as far as it is sent.
    private(set) var documents: [Substring] = []
    /// Documents that were cut because they are longer than the model's context, or than asked for.
    var truncated: Int { isCut.count(where: \.self) }
    private var isCut: [Bool] = []
    private(set) var profile: RoutingProfile
    private(set) var tokenEstimate = 0
    private(set) var mostTokens = 0

    static let mostDocuments = 1_000
    private static let bytesOfDocument = 256 << 10
    private static let pairsInCall = 32
    /// What a model puts around a pair.
    private static let frame = 8

    /// The members that rerank and score have in common.
    init(checking root: JSONElement, for endpoint: EndpointRecord) throws {
        profile = RoutingProfile(defaults: endpoint.defaults)
        if let tier = root["service_tier"], !tier.isNull { profile = try RoutingProfile(checking: tier) }
        if let user = root["user"], !user.isNull { _ = try Fields.string(user, "user", atMost: 512) }
        if let stream = root["stream"], !stream.isNull, try Fields.bool(stream, "stream") {
            throw APIError.invalid("stream", "Scores are not streamed.")
        }
    }

    /// - Returns: the text, which is not empty.
    static func text(_ value: JSONElement, _ name: String) throws -> String {
        let text = try Fields.string(value, name)
        guard !text.isEmpty else { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        guard text.utf8.count <= bytesOfDocument else {
            throw APIError(.requestTooLarge, "'\(name)' is larger than \(bytesOfDocument) bytes.", param: name)
        }
        return text
    }

    /// - Parameter text: reads one element, by its name.
    /// - Returns: the texts of a list, which is not empty.
    static func texts(_ list: JSONElement, _ name: String, _ text: (JSONElement, String) throws -> String) throws -> [String] {
        var texts: [String] = []
        for element in list.elements {
            guard texts.count < mostDocuments else {
                throw APIError(.tooManyDocuments, "'\(name)' has more than \(mostDocuments) entries.", param: name)
            }
            texts.append(try text(element, "\(name)[\(texts.count)]"))
        }
        guard !texts.isEmpty else { throw APIError.invalid(name, "'\(name)' must not be empty.") }
        return texts
    }

    /// Adds pairs of this query.
    /// - Parameters:
    ///   - room: the most tokens of a document.
    ///   - name: of the query in errors.
    mutating func add(_ query: String, _ name: String, with texts: [String], room: Int, for endpoint: EndpointRecord) throws {
        var room = room
        var sureBytes: Int?
        if let context = endpoint.mostContext {
            guard query.utf8.count / 6 < context - Self.frame else {
                throw APIError(.contextLengthExceeded, "'\(name)' is longer than the model's context of \(context) tokens.", param: name)
            }
            room = max(1, min(room, context - Self.frame - Self.tokens(query)))
            sureBytes = max(4, min(room, context - Self.frame - (query.utf8.count + 1) / 2))
        }
        var json = JSONWriter(capacity: query.utf8.count + 16)
        json.string(query)
        let first = documents.count
        for text in texts {
            let kept = Self.beginning(of: text[...], bytes: room * 3)
            tokenEstimate += Self.tokens(kept)
            mostTokens += (kept.utf8.count + 1) / 2
            isCut.append(kept.endIndex < text.endIndex)
            documents.append(kept)
        }
        let queryTokens = Self.tokens(query) + Self.frame
        tokenEstimate += queryTokens * texts.count
        mostTokens += ((query.utf8.count + 1) / 2 + Self.frame) * texts.count
        calls += stride(from: first, to: documents.count, by: Self.pairsInCall).map {
            Call(query: json.bytes, name: name, pairs: $0..<min($0 + Self.pairsInCall, documents.count), sureBytes: sureBytes)
        }
    }

    /// Cuts the documents of a call that the model server has found too long: in most texts a token has three bytes and more, in some it has one.
    /// - Returns: false where that was done already, or cannot be.
    mutating func shorten(_ call: Int) -> Bool {
        guard let bytes = calls[call].sureBytes else { return false }
        calls[call].sureBytes = nil
        for index in calls[call].pairs {
            let kept = Self.beginning(of: documents[index], bytes: bytes)
            if kept.endIndex < documents[index].endIndex { isCut[index] = true }
            documents[index] = kept
        }
        return true
    }

    /// Without a part of a character at its end.
    private static func beginning(of text: Substring, bytes: Int) -> Substring {
        guard text.utf8.count > bytes else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: bytes)
        while end.samePosition(in: text.base.unicodeScalars) == nil { end = text.utf8.index(before: end) }
        return text[..<end]
    }

    private static func tokens(_ text: some StringProtocol) -> Int { (text.utf8.count + 3) / 4 }

    /// The body of one call.
    func body(of call: Call, for endpoint: EndpointRecord) -> [UInt8] {
        var json = JSONWriter(capacity: documents[call.pairs].reduce(call.query.count + 256) { $0 + $1.utf8.count + 3 })
        json.raw(#"{"model":"#)
        json.string(endpoint.upstreamModel)
        json.raw(#","query":"#)
        json.raw(call.query)
        json.raw(#","top_n":"#)
        json.integer(call.pairs.count)
        json.raw(#","documents":["#)
        for index in call.pairs {
            if index > call.pairs.lowerBound { json.raw("," as StaticString) }
            json.string(String(documents[index]))
        }
        json.raw("]}" as StaticString)
        return json.bytes
    }
}
