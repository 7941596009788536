import Crypto
import OpenAI
import Server

/// The value of an API key: `xero_<project slug>_<43 characters of base64url>` (01 §4).
public struct KeyText: Sendable, Equatable {
    public let value: String
    public let projectSlug: String

    private static let secretLength = 43
    /// How much of a key is stored and shown, to recognise it by.
    private static let shownLength = 12

    /// nil for a text of another form; it may still be a secret, so it is not to be logged.
    public init?(_ value: String) {
        guard value.utf8.count <= 128, value.hasPrefix(Vendor.keyPrefix) else { return nil }
        let rest = value.utf8.dropFirst(Vendor.keyPrefix.utf8.count)
        guard let separator = rest.firstIndex(of: UInt8(ascii: "_")) else { return nil }
        let secret = rest[rest.index(after: separator)...]
        let slug = String(rest[..<separator]) ?? ""
        guard Slug.isProject(slug), secret.count == Self.secretLength, Base64URL.isAlphabet(secret) else { return nil }
        self.value = value
        projectSlug = slug
    }

    /// A new key of 256 random bits.
    public static func random(projectSlug: String) -> KeyText? {
        KeyText("\(Vendor.keyPrefix)\(projectSlug)_\(Base64URL.encode(Random.bytes(32)))")
    }

    public var digest: SHA256Digest { SHA256.digest(value) }
    public var shownPrefix: String { String(value.prefix(Self.shownLength)) }
}
