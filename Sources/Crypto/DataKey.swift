/// The key that seals what one project stores. Never logged: its description and its mirror show only the id.
///
/// Nonces are random, so one key should seal no more than 2^32 frames; rotate it long before.
public struct DataKey: Sendable, CustomStringConvertible, CustomReflectable {
    /// `dk_` and 24 characters.
    public let id: String
    let bytes: [UInt8]

    /// A new key of 256 random bits.
    public static func random(id: String) -> DataKey { DataKey(id: id, bytes: Random.bytes(32)) }

    public var description: String { "DataKey(\(id))" }
    public var customMirror: Mirror { Mirror(self, children: ["id": id]) }
}

/// A data key as it is stored: sealed under a master key.
public struct WrappedDataKey: Sendable, Equatable {
    public var id: String
    public var project: String
    /// Nonce (12 bytes), ciphertext (32), tag (16).
    public var bytes: [UInt8]
    public var masterKeyID: String

    public init(id: String, project: String, bytes: [UInt8], masterKeyID: String) {
        self.id = id
        self.project = project
        self.bytes = bytes
        self.masterKeyID = masterKeyID
    }
}
