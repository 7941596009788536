import Crypto
import Foundation
import OpenAI

/// What an agent shows on its calls by HTTPS: a JWT (RFC 7519) signed with Ed25519 (RFC 8037), good for a day. The mesh knows it by its CURVE key instead.
public struct AgentToken: Sendable, Equatable, CustomReflectable {
    /// Seconds.
    public static let lifetime = 86_400
    /// A new one is to be fetched after this part of it.
    private static let refreshPart = 0.75
    private static let head = Base64URL.encode(Array(#"{"alg":"EdDSA","typ":"JWT"}"#.utf8))

    public let text: String
    /// Seconds since 1970.
    public let expiresAt: Int
    public let refreshAfter: Int

    private struct Claims: Codable {
        var iss = "xerotier"
        var sub: String
        var iat: Int
        var exp: Int
    }

    public init(of agent: ID<Agent>, at now: Int, signedWith keys: MeshKeys) throws {
        expiresAt = now + Self.lifetime
        refreshAfter = now + Int(Double(Self.lifetime) * Self.refreshPart)
        let claims = Base64URL.encode(Array(try JSONEncoder().encode(Claims(sub: agent.description, iat: now, exp: expiresAt))))
        let signed = "\(Self.head).\(claims)"
        text = "\(signed).\(Base64URL.encode(keys.tokens.signature(of: Array(signed.utf8))))"
    }

    /// Whose token it is; nil where it is not ours, or over. Whether the agent is still one is for the database to say.
    /// - Parameter mayBeOver: for its refresh, which the agent's own signature allows: a machine that was off for days is still an agent.
    public static func agent(of text: String, at now: Int, mayBeOver: Bool = false, signedWith keys: MeshKeys) -> ID<Agent>? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard text.utf8.count <= 1_024, parts.count == 3, parts[0] == head, let signature = Base64URL.decode(parts[2]),
            Ed25519.isSigned(Array("\(parts[0]).\(parts[1])".utf8), signature, by: keys.tokens.publicKey),
            let body = Base64URL.decode(parts[1]), let claims = try? JSONDecoder().decode(Claims.self, from: Data(body)),
            mayBeOver || claims.exp > now
        else { return nil }
        return ID<Agent>(claims.sub)
    }

    public var customMirror: Mirror { Mirror(self, children: ["expiresAt": expiresAt]) }
}
