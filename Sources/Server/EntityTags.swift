/// What `If-Match` asks for (RFC 9110 §13.1.1).
public struct EntityTags: Sendable, Equatable {
    private let isAny: Bool
    private let tags: [String]

    public init(header: String) {
        tags = header.split(separator: ",").map { part in
            let tag = part.drop { $0 == " " }
            return String(tag.prefix { $0 != " " })
        }
        isAny = tags == ["*"]
    }

    /// Whether the present version is among them.
    public func match(_ version: Int64) -> Bool { isAny || tags.contains("\"\(version)\"") }
}
