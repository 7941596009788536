import Crypto
import Foundation
import ZeroMQ

/// What is made of `mesh.secret_key`, by HKDF-SHA256: the router's CURVE keys, and the pair that signs agents' tokens.
public struct MeshKeys: Sendable, CustomReflectable {
    public let curve: CurveKeys
    let tokens: Ed25519.Keys

    /// - Parameter secret: base64 of 32 bytes, as the configuration holds it.
    /// - Throws: `SealingError.badMasterKey`.
    public init(secret: String) throws {
        guard let data = Data(base64Encoded: secret.trimmingCharacters(in: .whitespacesAndNewlines)), data.count == 32 else {
            throw SealingError.badMasterKey
        }
        curve = try CurveKeys(secret: HKDF.sha256(key: Array(data), info: Array("mesh curve v1".utf8), length: 32))
        tokens = Ed25519.Keys(seed: try HKDF.sha256(key: Array(data), info: Array("agent tokens v1".utf8), length: 32))
    }

    public var customMirror: Mirror { Mirror(self, children: []) }
}
