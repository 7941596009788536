import Crypto
import Foundation
import OpenAI

/// What deliveries are signed with: `whsec_` and base64 as Standard Webhooks have it, or any text of a customer's own.
public struct WebhookSecret: Sendable, Equatable {
    /// As it is shown, once.
    public let text: String

    static let prefix = "whsec_"

    /// A new one of 32 random bytes.
    public static func random() -> WebhookSecret { WebhookSecret(unchecked: prefix + Data(Random.bytes(32)).base64EncodedString()) }

    /// - Throws: 400 `invalid_value`.
    public init(checking text: String, param: String = "secret") throws {
        guard (24...256).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw APIError.invalid(param, "'\(param)' must have 24 to 256 printable ASCII characters, without spaces.")
        }
        if text.hasPrefix(Self.prefix) {
            guard let key = Data(base64Encoded: String(text.dropFirst(Self.prefix.count))), (24...64).contains(key.count) else {
                throw APIError.invalid(param, "After 'whsec_' the base64 of 24 to 64 bytes is needed.")
            }
        }
        self.init(unchecked: text)
    }

    /// One that was stored.
    init(unchecked text: String) { self.text = text }

    /// What lists show of it.
    var hint: String { "\(text.hasPrefix(Self.prefix) ? Self.prefix : "")…\(text.suffix(4))" }

    /// Of Standard Webhooks: the bytes behind `whsec_`. A text of another form signs as it is.
    private var key: [UInt8] {
        guard text.hasPrefix(Self.prefix), let key = Data(base64Encoded: String(text.dropFirst(Self.prefix.count))) else {
            return Array(text.utf8)
        }
        return Array(key)
    }

    /// `v1,` and the base64 of the HMAC of `id.timestamp.body` (standardwebhooks.com, "Signature scheme").
    public func standardSignature(id: String, timestamp: Int, _ body: [UInt8]) -> String {
        "v1," + Data(HMAC.sha256(key: key, Array("\(id).\(timestamp).".utf8) + body)).base64EncodedString()
    }

    /// The hexadecimal HMAC of `timestamp.body`, whose key is the whole text of the secret.
    public func hexSignature(timestamp: Int, _ body: [UInt8]) -> String {
        Hexadecimal.text(HMAC.sha256(key: Array(text.utf8), Array("\(timestamp).".utf8) + body))
    }
}

/// The headers of a delivery.
enum WebhookHeaders {
    /// - Parameter secrets: the present one, and while a rotation goes on the one before; each signs.
    static func all(event id: String, timestamp: Int, _ body: [UInt8], _ secrets: [WebhookSecret]) -> [(name: String, value: String)] {
        [
            ("Content-Type", "application/json"), ("User-Agent", "Xerotier-Webhooks/1"),
            ("X-Webhook-ID", id), ("X-Webhook-Timestamp", String(timestamp)),
            ("X-Webhook-Signature", secrets.map { $0.hexSignature(timestamp: timestamp, body) }.joined(separator: ",")),
            ("webhook-id", id), ("webhook-timestamp", String(timestamp)),
            ("webhook-signature", secrets.map { $0.standardSignature(id: id, timestamp: timestamp, body) }.joined(separator: " ")),
        ]
    }
}
