import Foundation

public enum SealingError: Error, Sendable, Equatable {
    /// The master key is not 32 bytes of base64.
    case badMasterKey
    /// The envelope is damaged, or was sealed for another project or kind or with another key. One error for all: the cause is a secret.
    case cannotOpen
    /// OpenSSL failed without a fault of the data.
    case internalFault
}

/// Seals what is stored for a project, so that a dump of the database or the bucket shows nothing.
///
/// Envelope: one byte version (1), 12 bytes nonce, ciphertext, 16 bytes tag. AES-256-GCM under a key that HKDF-SHA256 derives from the master
/// key for one project and kind; both are authenticated too, so an envelope cannot be moved to another row's meaning.
public struct Sealing: Sendable {
    private let masterKey: [UInt8]

    private static let version: UInt8 = 1
    private static let nonceLength = 12
    private static let tagLength = 16

    public init(masterKey: [UInt8]) throws {
        guard masterKey.count == 32 else { throw SealingError.badMasterKey }
        self.masterKey = masterKey
    }

    /// The master key as the configuration holds it: base64 of 32 bytes.
    public init(base64: String) throws {
        guard let data = Data(base64Encoded: base64.trimmingCharacters(in: .whitespacesAndNewlines)) else {
            throw SealingError.badMasterKey
        }
        try self.init(masterKey: Array(data))
    }

    /// - Parameter kind: what the bytes are, such as `upstream-key`; without `|`.
    public func seal(project: String, kind: String, _ plain: [UInt8]) throws -> [UInt8] {
        let nonce = Random.bytes(Self.nonceLength)
        let context = Self.context(project, kind)
        let sealed = try AESGCM.seal(plain, key: key(context), nonce: nonce, authenticating: context)
        return [Self.version] + nonce + sealed
    }

    public func open(project: String, kind: String, _ envelope: [UInt8]) throws -> [UInt8] {
        guard envelope.first == Self.version, envelope.count >= 1 + Self.nonceLength + Self.tagLength else { throw SealingError.cannotOpen }
        let context = Self.context(project, kind)
        return try AESGCM.open(
            Array(envelope[(1 + Self.nonceLength)...]), key: key(context), nonce: Array(envelope[1..<(1 + Self.nonceLength)]),
            authenticating: context)
    }

    private static func context(_ project: String, _ kind: String) -> [UInt8] { Array("\(project)|\(kind)".utf8) }

    private func key(_ context: [UInt8]) throws -> [UInt8] {
        try HKDF.sha256(key: masterKey, info: Array("sealing v1|".utf8) + context, length: 32)
    }
}
