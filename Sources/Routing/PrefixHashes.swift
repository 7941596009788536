import Crypto
import Threads

/// Names the beginnings of a prompt, so that it can be told who has seen them without keeping any text (05 §5).
///
/// Each block of 256 bytes of the canonical prompt gets `SHA-256(name of the block before || block)`, so a name stands for all that came up to its
/// end. The first name is salted for the project: equal texts of two projects have no name in common.
public struct PrefixHashing: Sendable {
    public static let blockLength = 256
    /// Blocks that count: 256 KiB of a prompt.
    public static let mostBlocks = 1_024

    private let salting: [UInt8]
    /// By project and model version.
    private let starts = Remembered<[String], [UInt8]>(most: 10_000)

    /// - Parameter salting: a secret of the deployment that comes out of the master key.
    public init(salting: [UInt8]) { self.salting = salting }

    /// A chain that takes the canonical prompt of a request: model id, version, cache key, tools, then messages in their order.
    /// - Throws: `SealingError.internalFault` where OpenSSL fails.
    public func chain(project: String, modelVersion: String) throws -> PrefixChain {
        let start = try starts.value(for: [project, modelVersion]) {
            let salt = try HKDF.sha256(key: salting, info: Array("prefix index v1\0\(project)".utf8), length: 32)
            return HMAC.sha256(key: salt, Array("px1|\(modelVersion)".utf8))
        }
        return PrefixChain(start: start)
    }
}

/// Takes bytes as they come, for an answer goes on where its prompt ended.
public struct PrefixChain: Sendable {
    /// The first 8 bytes of each block's name; only full blocks have one.
    public private(set) var hashes: [UInt64] = []
    /// The name of the last full block, then the bytes after it.
    private var pending: [UInt8]

    private static let nameLength = 32

    init(start: [UInt8]) {
        pending = start
        pending.reserveCapacity(Self.nameLength + PrefixHashing.blockLength)
    }

    public mutating func add(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        while !rest.isEmpty && hashes.count < PrefixHashing.mostBlocks {
            let part = rest.prefix(Self.nameLength + PrefixHashing.blockLength - pending.count)
            pending.append(contentsOf: part)
            rest = rest.dropFirst(part.count)
            if pending.count == Self.nameLength + PrefixHashing.blockLength { endBlock() }
        }
    }

    /// Adds a part with its length before it, so that two parts never read like two others.
    public mutating func addPart(_ bytes: UnsafeRawBufferPointer) {
        withUnsafeBytes(of: UInt64(bytes.count).bigEndian) { add($0) }
        add(bytes)
    }

    public mutating func addPart(_ text: String) {
        var text = text
        text.withUTF8 { addPart(UnsafeRawBufferPointer($0)) }
    }

    private mutating func endBlock() {
        let name = SHA256.digest(pending).bytes
        hashes.append(name.withUnsafeBytes { UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)) })
        pending.removeAll(keepingCapacity: true)
        pending.append(contentsOf: name)
    }
}
