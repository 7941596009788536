import MessagePack
import ZeroMQ

/// A message of the mesh: kind, id and a map, in three parts, or four where the map is compressed (05 §12).
public struct Message: Sendable, Equatable {
    public static let version = 1
    /// Bytes of a body at most, as it is read; compressed it is shorter.
    public static let bodyLength = 32 << 20
    /// Maps that are longer go compressed, where that makes them shorter.
    public static let compressedAbove = 4 << 10

    private static let kindLength = 32
    private static let idLength = 128
    private static let compressed = Array("zstd".utf8)

    /// The request's id, or empty where it is about none.
    public var id: String
    /// Of the request, from 1; a late frame of an earlier attempt is dropped.
    public var attempt: Int
    /// Counts the sender's frames of an id and attempt, from 0.
    public var sequence: Int
    /// Milliseconds of the sender's clock.
    public var time: Int
    public var frame: Frame

    public init(id: String = "", attempt: Int = 0, sequence: Int, time: Int, _ frame: Frame) {
        self.id = id
        self.attempt = attempt
        self.sequence = sequence
        self.time = time
        self.frame = frame
    }

    /// On a socket of ZeroMQ.
    public var parts: [ZeroMQPart] {
        let body = map
        let head = [ZeroMQPart(frame.kind.rawValue), ZeroMQPart(id)]
        if body.count > Self.compressedAbove, let packed = Zstandard.compress(body) {
            return head + [ZeroMQPart(packed), ZeroMQPart(Self.compressed)]
        }
        return head + [ZeroMQPart(body)]
    }

    /// Adds it to the bytes of a `MessageStream`.
    public func append(to bytes: inout [UInt8]) {
        let body = map
        var (kind, id) = (frame.kind.rawValue, id)
        kind.withUTF8 { kind in
            id.withUTF8 { id in
                MessageStream.begin(
                    kind: UnsafeRawBufferPointer(kind), id: UnsafeRawBufferPointer(id), map: body.count, isCompressed: false, in: &bytes)
            }
        }
        bytes += body
    }

    /// Adds a message that was read from a socket of ZeroMQ to the bytes of a `MessageStream`, as it is.
    public static func append(_ parts: ArraySlice<ZeroMQPart>, to bytes: inout [UInt8]) {
        let first = parts.startIndex
        parts[first].withUnsafeBytes { kind in
            parts[first + 1].withUnsafeBytes { id in
                parts[first + 2].withUnsafeBytes { map in
                    MessageStream.begin(kind: kind, id: id, map: map.count, isCompressed: parts.count == 4, in: &bytes)
                    bytes.append(contentsOf: map)
                }
            }
        }
    }

    private var map: [UInt8] {
        let fields = frame.body
        var map = MessagePackMap()
        map.add("v", Self.version)
        map.add("a", attempt)
        map.add("s", sequence)
        map.add("t", time)
        fields.write(to: &map)
        return MessagePackWriter.bytes(of: .map(map))
    }

    /// Reads what came from a peer that nobody vouches for.
    /// - Parameter parts: without the name that a ROUTER puts before them.
    /// - Returns: nil for a kind that is not known, which is ignored.
    public static func read(_ parts: ArraySlice<ZeroMQPart>, from sender: Frame.Sender) throws(FrameError) -> Message? {
        guard parts.count == 3 || parts.count == 4 else { throw .parts(parts.count) }
        let first = parts.startIndex
        if parts.count == 4 && parts[first + 3].bytes != compressed { throw .malformedCompression }
        return try parts[first].withUnsafeBytes { kind throws(FrameError) in
            try parts[first + 1].withUnsafeBytes { id throws(FrameError) in
                try parts[first + 2].withUnsafeBytes { map throws(FrameError) in
                    try read(kind: kind, id: id, map: map, isCompressed: parts.count == 4, from: sender)
                }
            }
        }
    }

    static func read(
        kind: UnsafeRawBufferPointer, id: UnsafeRawBufferPointer, map: UnsafeRawBufferPointer, isCompressed: Bool, from sender: Frame.Sender
    ) throws(FrameError) -> Message? {
        guard let name = word(kind, 1...kindLength), let id = word(id, 0...idLength) else { throw .malformedHead }
        let fields = FieldReader(try self.map(map, isCompressed: isCompressed))
        let version = try fields.integer("v")
        guard version == Self.version else { throw .version(version) }
        let attempt = try fields.integer("a", 0...1_000)
        let sequence = try fields.integer("s")
        let time = try fields.integer("t")
        guard let kind = Frame.Kind(rawValue: name) else { return nil }
        guard kind.isSent(by: sender) else { throw .wrongDirection(kind: name) }
        return Message(id: id, attempt: attempt, sequence: sequence, time: time, try Frame(kind, fields))
    }

    /// Printable ASCII without spaces.
    private static func word(_ bytes: UnsafeRawBufferPointer, _ length: ClosedRange<Int>) -> String? {
        length.contains(bytes.count) && bytes.allSatisfy { 0x21...0x7e ~= $0 } ? String(decoding: bytes, as: UTF8.self) : nil
    }

    private static func map(_ bytes: UnsafeRawBufferPointer, isCompressed: Bool) throws(FrameError) -> MessagePackMap {
        let value: MessagePackValue?
        if isCompressed {
            guard let body = Zstandard.decompress(bytes, atMost: bodyLength) else { throw .malformedCompression }
            value = try? MessagePackReader.read(body)
        } else {
            guard bytes.count <= bodyLength else { throw .malformedBody }
            value = try? MessagePackReader.read(bytes)
        }
        guard case .map(let map) = value else { throw .malformedBody }
        return map
    }
}
