import OpenAI

/// What `If-Match` asks for (RFC 9110 §13.1.1): a version that the client has read.
public struct EntityTags: Sendable, Equatable {
    private let isAny: Bool
    private let tags: [String]

    /// This version alone.
    public init(version: Int64) {
        isAny = false
        tags = ["\"\(version)\""]
    }

    /// - Throws: `APIError` 400 for what is neither `*` nor a list of tags in quotes.
    init(header: String) throws {
        isAny = header == "*"
        tags = header.split(separator: ",").map { part in
            let tag = part.drop { $0 == " " }
            return String(tag.prefix { $0 != " " })
        }
        guard isAny || (!tags.isEmpty && tags.allSatisfy(Self.isTag)) else {
            throw APIError.invalid("If-Match", "If-Match must be '*' or versions in quotes, such as \"3\".")
        }
    }

    private static func isTag(_ text: String) -> Bool {
        let opaque = text.hasPrefix("W/") ? text.dropFirst(2) : text[...]
        return opaque.utf8.count >= 2 && opaque.hasPrefix("\"") && opaque.hasSuffix("\"")
    }

    /// Whether the present version is among them. Weak tags never match.
    public func match(_ version: Int64) -> Bool { isAny || tags.contains("\"\(version)\"") }
}

extension Request {
    /// The versions that `If-Match` asks for; nil = any.
    public func ifMatch() throws -> EntityTags? { try header("HTTP_IF_MATCH").map(EntityTags.init(header:)) }
}
