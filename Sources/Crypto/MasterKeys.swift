import Foundation

/// The master key, which wraps data keys and salts caches, and the one before it while a rotation goes on.
public struct MasterKeys: Sendable, CustomReflectable {
    private let current: MasterKey
    private let previous: MasterKey?

    /// - Parameters: base64 of 32 bytes each, as the configuration holds them; an empty `previous` = none.
    public init(current: String, previous: String = "") throws {
        self.current = try MasterKey(base64: current)
        self.previous = previous.isEmpty ? nil : try MasterKey(base64: previous)
    }

    /// Names the current key in rows; tells nothing about it.
    public var currentID: String { current.id }
    public var customMirror: Mirror { Mirror(self, children: []) }
    /// What salts of caches are made from. Under another master key the caches are cold.
    public var cacheSalting: [UInt8] { current.cacheSalting }
    /// What salts the names of prompts in the router's index. Under another master key nobody has seen any.
    public var prefixSalting: [UInt8] { current.prefixSalting }

    public func wrap(_ key: DataKey, project: String) throws -> WrappedDataKey {
        WrappedDataKey(id: key.id, project: project, bytes: try current.wrap(key, project: project), masterKeyID: current.id)
    }

    /// - Throws: `SealingError.unknownMasterKey`, or `cannotOpen` where the row was changed or belongs elsewhere.
    public func unwrap(_ wrapped: WrappedDataKey) throws -> DataKey {
        guard let master = [current, previous].compactMap({ $0 }).first(where: { $0.id == wrapped.masterKeyID }) else {
            throw SealingError.unknownMasterKey
        }
        return try master.unwrap(wrapped)
    }

    /// The same data key under the current master key; nil where it already is.
    public func rewrap(_ wrapped: WrappedDataKey) throws -> WrappedDataKey? {
        guard wrapped.masterKeyID != current.id else { return nil }
        return try wrap(unwrap(wrapped), project: wrapped.project)
    }
}

/// Four keys come out of the master key by HKDF-SHA256: one wraps, one salts caches, one salts names of prompts, and one, cut to 64 bits, is the id.
private struct MasterKey: Sendable {
    let id: String
    let cacheSalting: [UInt8]
    let prefixSalting: [UInt8]
    private let wrapping: [UInt8]

    init(base64: String) throws {
        guard let data = Data(base64Encoded: base64.trimmingCharacters(in: .whitespacesAndNewlines)), data.count == 32 else {
            throw SealingError.badMasterKey
        }
        wrapping = try HKDF.sha256(key: Array(data), info: Array("wrapping v1".utf8), length: 32)
        cacheSalting = try HKDF.sha256(key: Array(data), info: Array("cache salting v1".utf8), length: 32)
        prefixSalting = try HKDF.sha256(key: Array(data), info: Array("prefix salting v1".utf8), length: 32)
        id = Hexadecimal.text(try HKDF.sha256(key: Array(data), info: Array("master key id v1".utf8), length: 8))
    }

    func wrap(_ key: DataKey, project: String) throws -> [UInt8] {
        let nonce = Random.bytes(12)
        return try nonce + AESGCM.seal(key.bytes, key: wrapping, nonce: nonce, authenticating: context(key.id, project))
    }

    func unwrap(_ wrapped: WrappedDataKey) throws -> DataKey {
        guard wrapped.bytes.count == 12 + 32 + AESGCM.tagLength else { throw SealingError.cannotOpen }
        let bytes = try AESGCM.open(
            Array(wrapped.bytes[12...]), key: wrapping, nonce: Array(wrapped.bytes[..<12]),
            authenticating: context(wrapped.id, wrapped.project))
        return DataKey(id: wrapped.id, bytes: bytes)
    }

    private func context(_ keyID: String, _ project: String) -> [UInt8] {
        Array(["data key", id, keyID, project].joined(separator: "\0").utf8)
    }
}
