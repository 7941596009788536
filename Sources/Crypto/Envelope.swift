/// The stored form of sealed bytes: a header of version (one byte, 2) and data key id (27 ASCII characters), then frames of at most 4 MiB of
/// plain text, each a random nonce of 12 bytes, the AES-256-GCM ciphertext and a tag of 16 bytes. There is always a last frame, maybe an empty one.
///
/// What is authenticated with each frame: the data key's id, project, kind, object, the frame's number and whether it is the last one. So frames
/// cannot be swapped, left out or cut off, and an envelope cannot stand for another one.
public struct Envelope: Sendable {
    public static let headerLength = 1 + keyIDLength
    public static let plainFrameLength = 4 << 20
    public static let sealedFrameLength = plainFrameLength + overhead
    /// What stands before the ciphertext of a part.
    public static let partHeadLength = headerLength + nonceLength
    public static let longestPart = headerLength + sealedFrameLength

    private static let version: UInt8 = 2
    private static let keyIDLength = 27
    private static let nonceLength = 12
    private static let overhead = nonceLength + AESGCM.tagLength

    private let key: DataKey
    private let context: [UInt8]

    init(key: DataKey, project: String, kind: String, object: String) {
        self.key = key
        // A NUL, which no part holds, keeps the parts apart.
        context = Array([key.id, project, kind, object].joined(separator: "\0").utf8) + [0]
    }

    /// The id of the data key that an envelope was sealed with.
    static func keyID(of envelope: [UInt8]) throws -> String {
        guard envelope.first == version, envelope.count >= headerLength else { throw SealingError.cannotOpen }
        return String(decoding: envelope[1..<headerLength], as: UTF8.self)
    }

    public var header: [UInt8] { [Self.version] + Array(key.id.utf8) }

    /// - Parameters:
    ///   - plain: exactly `plainFrameLength` bytes, or fewer in the last frame.
    ///   - number: from 0.
    public func sealFrame(_ plain: [UInt8], number: Int, isLast: Bool) throws -> [UInt8] {
        precondition(
            isLast ? plain.count <= Self.plainFrameLength : plain.count == Self.plainFrameLength, "a frame of \(plain.count) bytes")
        let nonce = Random.bytes(Self.nonceLength)
        return try nonce + AESGCM.seal(plain, key: key.bytes, nonce: nonce, authenticating: context(number, isLast))
    }

    public func openFrame(_ sealed: [UInt8], number: Int, isLast: Bool) throws -> [UInt8] {
        guard sealed.count >= Self.overhead, sealed.count <= Self.sealedFrameLength else { throw SealingError.cannotOpen }
        return try AESGCM.open(
            Array(sealed[Self.nonceLength...]), key: key.bytes, nonce: Array(sealed[..<Self.nonceLength]),
            authenticating: context(number, isLast))
    }

    /// Seals a frame where it stands, with a header of its own, so that it can be stored alone: `openPart` needs no other frame. Nothing is copied
    /// where the array has room for `longestPart` bytes.
    /// - Parameter part: `partHeadLength` bytes, which are written over, and the plain text: exactly `plainFrameLength` bytes, or fewer in the last frame.
    public func sealPart(_ part: inout [UInt8], number: Int, isLast: Bool) throws {
        let count = part.count - Self.partHeadLength
        precondition(
            count >= 0 && (isLast ? count <= Self.plainFrameLength : count == Self.plainFrameLength), "a frame of \(count) bytes")
        let nonce = Random.bytes(Self.nonceLength)
        for (place, byte) in (header + nonce).enumerated() { part[place] = byte }
        try AESGCM.seal(&part, from: Self.partHeadLength, key: key.bytes, nonce: nonce, authenticating: context(number, isLast))
    }

    /// Opens a part where it stands.
    /// - Returns: where the plain text is. After an error nothing of it may be used.
    /// - Throws: `SealingError`
    public func openPart(_ part: inout [UInt8], number: Int, isLast: Bool) throws -> Range<Int> {
        guard try Self.keyID(of: part) == key.id, part.count >= Self.partHeadLength else { throw SealingError.cannotOpen }
        let nonce = Array(part[Self.headerLength..<Self.partHeadLength])
        return try AESGCM.open(&part, from: Self.partHeadLength, key: key.bytes, nonce: nonce, authenticating: context(number, isLast))
    }

    func seal(_ plain: [UInt8]) throws -> [UInt8] {
        var sealed = header
        try Self.eachFrame(of: plain[...], length: Self.plainFrameLength) { sealed += try sealFrame($0, number: $1, isLast: $2) }
        return sealed
    }

    func open(_ envelope: [UInt8]) throws -> [UInt8] {
        var plain: [UInt8] = []
        try Self.eachFrame(of: envelope[Self.headerLength...], length: Self.sealedFrameLength) {
            plain += try openFrame($0, number: $1, isLast: $2)
        }
        return plain
    }

    private static func eachFrame(of bytes: ArraySlice<UInt8>, length: Int, _ body: ([UInt8], Int, Bool) throws -> Void) rethrows {
        var rest = bytes
        var number = 0
        while rest.count > length {
            try body(Array(rest.prefix(length)), number, false)
            rest = rest.dropFirst(length)
            number += 1
        }
        try body(Array(rest), number, true)
    }

    private func context(_ number: Int, _ isLast: Bool) -> [UInt8] {
        context + withUnsafeBytes(of: UInt64(number).bigEndian) { Array($0) } + [isLast ? 1 : 0]
    }
}
