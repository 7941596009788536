import Crypto
import OpenAI
import Server

/// The value of a join key: `xjk_<project slug>_<43 characters of base64url>` (01 §5). Whoever has it can enrol one agent.
public struct JoinKeyText: Sendable, Equatable, CustomReflectable {
    public let value: String

    private static let secretLength = 43
    private static let shownLength = 12

    /// nil for a text of another form; it may still be a secret, so it is not to be logged.
    public init?(_ value: String) {
        guard value.utf8.count <= 128, value.hasPrefix(Vendor.joinKeyPrefix) else { return nil }
        let rest = value.utf8.dropFirst(Vendor.joinKeyPrefix.utf8.count)
        guard let separator = rest.firstIndex(of: UInt8(ascii: "_")) else { return nil }
        let secret = rest[rest.index(after: separator)...]
        guard Slug.isProject(String(rest[..<separator]) ?? ""), secret.count == Self.secretLength, Base64URL.isAlphabet(secret) else {
            return nil
        }
        self.value = value
    }

    /// A new one, of 256 random bits.
    public static func random(projectSlug: String) -> JoinKeyText? {
        JoinKeyText("\(Vendor.joinKeyPrefix)\(projectSlug)_\(Base64URL.encode(Random.bytes(32)))")
    }

    public var digest: SHA256Digest { SHA256.digest(value) }
    public var shownPrefix: String { String(value.prefix(Self.shownLength)) }
    public var customMirror: Mirror { Mirror(self, children: ["shownPrefix": shownPrefix]) }
}
