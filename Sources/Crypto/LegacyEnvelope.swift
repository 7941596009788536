import Foundation

/// The form before there were data keys: version 1, nonce, ciphertext, tag, under a key derived from the master key for project and kind.
///
/// Only `migrate up` opens it, to seal the bytes anew; everywhere else it is refused, since it may stand for any row of its project and kind.
public struct LegacyEnvelope: Sendable {
    public static let version: UInt8 = 1
    private let masterKey: [UInt8]

    public init(masterKey base64: String) throws {
        guard let data = Data(base64Encoded: base64.trimmingCharacters(in: .whitespacesAndNewlines)), data.count == 32 else {
            throw SealingError.badMasterKey
        }
        masterKey = Array(data)
    }

    public func open(project: String, kind: String, _ envelope: [UInt8]) throws -> [UInt8] {
        guard envelope.first == Self.version, envelope.count >= 1 + 12 + AESGCM.tagLength else { throw SealingError.cannotOpen }
        let context = Array("\(project)|\(kind)".utf8)
        return try AESGCM.open(
            Array(envelope[13...]), key: key(context), nonce: Array(envelope[1..<13]), authenticating: context)
    }

    /// As older programs sealed; for tests.
    package func seal(project: String, kind: String, _ plain: [UInt8]) throws -> [UInt8] {
        let context = Array("\(project)|\(kind)".utf8)
        let nonce = Random.bytes(12)
        return try [Self.version] + nonce + AESGCM.seal(plain, key: key(context), nonce: nonce, authenticating: context)
    }

    private func key(_ context: [UInt8]) throws -> [UInt8] {
        try HKDF.sha256(key: masterKey, info: Array("sealing v1|".utf8) + context, length: 32)
    }
}
