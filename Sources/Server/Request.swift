import FastCGI
import OpenAI

/// One request as handlers see it. It is a view of its exchange and valid during the request's turn only.
public struct Request {
    public let method: String
    /// Without the query.
    public let path: String
    public let query: Query
    public let location: Location
    /// From the route's pattern.
    public var pathParameters: [String: String] = [:]
    /// The whole body; empty before the server has read it.
    public var body: [UInt8] = []
    private let parameters: Parameters

    init(_ parameters: Parameters) {
        self.parameters = parameters
        method = parameters["REQUEST_METHOD"] ?? ""
        let uri = parameters["REQUEST_URI"] ?? "/"
        let end = uri.utf8.firstIndex(of: UInt8(ascii: "?")) ?? uri.endIndex
        path = String(uri[..<end])
        query = Query(end < uri.endIndex ? uri[uri.utf8.index(after: end)...] : "")
        location = Location(path: path)
    }

    /// A request header by its CGI name, such as `HTTP_AUTHORIZATION`.
    public func header(_ name: StaticString) -> String? { parameters[name] }

    /// Who sent the request, when these proxies stand in front of us; nil when that is not known.
    public func clientAddress(behind proxies: TrustedProxies) -> ClientAddress? {
        proxies.clientAddress(peer: header("REMOTE_ADDR"), forwardedFor: header("HTTP_X_FORWARDED_FOR"))
    }

    /// `Content-Type` as it came.
    public var contentType: String? { parameters["CONTENT_TYPE"] }

    /// `Content-Type` without parameters, in lower case.
    public var mediaType: String? {
        guard let type = parameters["CONTENT_TYPE"], !type.isEmpty else { return nil }
        let name = type.utf8.prefix { $0 != UInt8(ascii: ";") }.drop { $0 == UInt8(ascii: " ") }
        guard let last = name.lastIndex(where: { $0 != UInt8(ascii: " ") }) else { return "" }
        return String(Substring(name[...last])).lowercased()
    }

    /// nil = absent or not a number.
    public var declaredLength: Int? { parameters["CONTENT_LENGTH"].flatMap { Int($0) } }
}

/// The query of a URL, decoded when asked for.
public struct Query: Sendable {
    private let text: String

    package init(_ text: some StringProtocol) { self.text = String(text) }

    /// Whether some value looks like one of our keys.
    var holdsKey: Bool {
        guard !text.isEmpty else { return false }
        return text.utf8.split(separator: UInt8(ascii: "&")).contains { pair in
            let value = pair.firstIndex(of: UInt8(ascii: "=")).map { pair[pair.index(after: $0)...] } ?? pair
            return PercentEncoding.decode(Substring(value), plusIsSpace: true).hasPrefix(Vendor.keyPrefix)
        }
    }

    /// Refuses parameters that nobody reads and those that stand twice, so that no misspelt filter shows more than was asked for.
    /// - Throws: 400 `invalid_value` naming the first of them.
    public func allow(_ names: [String]) throws {
        var seen: Set<String> = []
        for pair in text.split(separator: "&") {
            let name = PercentEncoding.decode(pair.prefix { $0 != "=" }, plusIsSpace: true)
            guard names.contains(name) else {
                let shown = String(name.prefix(64))
                throw APIError.invalid(shown, "There is no parameter '\(shown)' here; there are \(names.joined(separator: ", ")).")
            }
            guard seen.insert(name).inserted else { throw APIError.invalid(name, "'\(name)' stands twice.") }
        }
    }

    public subscript(name: String) -> String? {
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if PercentEncoding.decode(parts[0], plusIsSpace: true) == name {
                return parts.count > 1 ? PercentEncoding.decode(parts[1], plusIsSpace: true) : ""
            }
        }
        return nil
    }
}
