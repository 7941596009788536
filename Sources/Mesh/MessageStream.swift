/// Messages on a stream of bytes, as they go between a gateway and the routers of its machine.
///
/// Each begins with its length, in four bytes with the high one first, the lengths of kind and id, a byte each, and a byte that is 1 where the map is
/// compressed; kind, id and map follow. What an agent has compressed is passed on as it is; on a machine nothing is worth compressing.
public struct MessageStream: ~Copyable {
    /// Bytes of one message at most.
    public static let longest = Message.bodyLength + 1_024
    private static let headLength = 7

    private var bytes: [UInt8] = []
    /// Where the first message that is not read yet begins.
    private var start = 0

    public init() {}

    /// Nothing of a message is there.
    public var isEmpty: Bool { start == bytes.count }

    /// What has come after all that came before.
    public mutating func append(_ other: UnsafeRawBufferPointer) { bytes.append(contentsOf: other) }

    /// The next message that is there whole.
    /// - Returns: nil without one; a message of a kind that is not known is left out.
    public mutating func next(from sender: Frame.Sender) throws(FrameError) -> Message? {
        while let length = try lengthOfNext() {
            let end = start + 4 + length
            guard bytes.count >= end else {
                if start > 0 { removeRead() }
                bytes.reserveCapacity(4 + length)
                return nil
            }
            let range = start + 4..<end
            let message = try bytes.withUnsafeBytes { bytes in
                Result { () throws(FrameError) in try Self.read(UnsafeRawBufferPointer(rebasing: bytes[range]), from: sender) }
            }.get()
            start = end
            if isEmpty { removeRead() }
            if let message { return message }
        }
        if start > 0 && !isEmpty { removeRead() }
        return nil
    }

    /// Of a large message the memory is not kept for those that follow.
    private mutating func removeRead() {
        bytes.removeSubrange(..<start)
        if bytes.isEmpty && bytes.capacity > 256 << 10 { bytes = [] }
        start = 0
    }

    /// Without the length itself; nil where that is not there yet.
    private func lengthOfNext() throws(FrameError) -> Int? {
        guard bytes.count - start >= 4 else { return nil }
        let length = bytes.withUnsafeBytes { Int(UInt32(bigEndian: $0.loadUnaligned(fromByteOffset: start, as: UInt32.self))) }
        guard Self.headLength - 4...Self.longest ~= length else { throw .malformedHead }
        return length
    }

    private static func read(_ message: UnsafeRawBufferPointer, from sender: Frame.Sender) throws(FrameError) -> Message? {
        let (kindEnd, idEnd) = (3 + Int(message[0]), 3 + Int(message[0]) + Int(message[1]))
        guard idEnd <= message.count, message[2] <= 1 else { throw .malformedHead }
        func part(_ range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: message[range]) }
        return try Message.read(
            kind: part(3..<kindEnd), id: part(kindEnd..<idEnd), map: part(idEnd..<message.count), isCompressed: message[2] == 1,
            from: sender)
    }

    /// Adds the head of a message to what is to be sent.
    /// - Parameter map: bytes of the map, which follows kind and id.
    static func begin(kind: UnsafeRawBufferPointer, id: UnsafeRawBufferPointer, map: Int, isCompressed: Bool, in bytes: inout [UInt8]) {
        let length = UInt32(headLength - 4 + kind.count + id.count + map)
        withUnsafeBytes(of: length.bigEndian) { bytes.append(contentsOf: $0) }
        bytes += [UInt8(kind.count), UInt8(id.count), isCompressed ? 1 : 0]
        bytes.append(contentsOf: kind)
        bytes.append(contentsOf: id)
    }
}
