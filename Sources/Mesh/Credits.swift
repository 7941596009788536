/// What an agent may send of all its streams before chunks are acknowledged (05 §14): each stream has credits of its own, and all together have a cap.
///
/// A stream without credits is not read from its engine, so that the engine waits; nothing is buffered beyond one chunk.
public struct AgentCredits: Sendable {
    public static let mostChunks = 4_096
    public static let mostBytes = 64 << 20

    private struct Stream: Sendable {
        var credits: Int
        var unackedChunks = 0
        var unackedBytes = 0
    }

    private var streams: [String: Stream] = [:]
    public private(set) var unackedChunks = 0
    public private(set) var unackedBytes = 0

    public init() {}

    /// - Parameter credits: of the `dispatch`.
    public mutating func begin(_ id: String, credits: Int) {
        end(id)
        streams[id] = Stream(credits: credits)
    }

    /// Whether the stream may read more of its engine's answer now.
    public func maySend(_ id: String) -> Bool {
        guard let stream = streams[id] else { return false }
        return stream.credits > 0 && unackedChunks < Self.mostChunks && unackedBytes + Chunk.dataLength <= Self.mostBytes
    }

    /// A chunk goes out; `maySend` said so.
    public mutating func sent(_ id: String, bytes: Int) {
        guard var stream = streams[id] else { return }
        stream.credits -= 1
        stream.unackedChunks += 1
        stream.unackedBytes += bytes
        streams[id] = stream
        unackedChunks += 1
        unackedBytes += bytes
    }

    /// Credits have come back. Nobody is believed to have got more than was sent: a peer that returns too much gains nothing.
    public mutating func returned(_ credit: Credit, to id: String) {
        guard var stream = streams[id] else { return }
        let chunks = min(credit.chunks, stream.unackedChunks)
        let bytes = min(credit.bytes, stream.unackedBytes)
        stream.credits += chunks
        stream.unackedChunks -= chunks
        stream.unackedBytes -= bytes
        streams[id] = stream
        unackedChunks -= chunks
        unackedBytes -= bytes
    }

    /// The stream is over, whatever of it is acknowledged.
    public mutating func end(_ id: String) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        unackedChunks -= stream.unackedChunks
        unackedBytes -= stream.unackedBytes
    }
}

/// What the receiver of a stream owes its agent: credits go back when half of the window is owed, so that there is one frame for many chunks.
public struct CreditReturns: Sendable {
    private let window: Int
    private var chunks = 0
    private var bytes = 0

    /// - Parameter window: of the `dispatch`.
    public init(window: Int) { self.window = window }

    /// Bytes of a chunk have been flushed to the client.
    /// - Returns: what to send back now; nil = nothing yet.
    public mutating func flushed(bytes count: Int) -> Credit? {
        chunks += 1
        bytes += count
        guard 2 * chunks >= window else { return nil }
        defer { (chunks, bytes) = (0, 0) }
        return Credit(chunks: chunks, bytes: bytes)
    }
}
