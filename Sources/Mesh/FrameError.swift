/// Why a message of the mesh is not what it should be. It says nothing of what the message contains.
public enum FrameError: Error, Equatable, Sendable {
    /// Not three or four parts.
    case parts(Int)
    /// A kind that is no short ASCII word, or an id with other than printable ASCII, or too long.
    case malformedHead
    /// A fourth part that is not `zstd`, a body that does not unpack, or that would be larger than a message may be.
    case malformedCompression
    /// No MessagePack map; see `MessagePackError` for where.
    case malformedBody
    /// Another version of the protocol: the peer is told `bye version`.
    case version(Int)
    /// What only the other side may send.
    case wrongDirection(kind: String)
    case missing(field: String)
    /// A value of another type, out of its range, too long, or not one of those that the field may have.
    case invalid(field: String)
}
