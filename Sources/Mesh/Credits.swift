/// How much of one stream may be under way (05 §14): 64 chunks or 1 MiB, and for an agent with more than 64 places so much less that what all its places
/// have together stays within its cap. So whoever reads nothing keeps only what is his own: the others always have theirs.
public struct StreamWindow: Sendable, Equatable {
    /// Of all streams of an agent.
    public static let mostChunks = 4_096
    public static let mostBytes = 64 << 20
    private static let largest = 64
    private static let bytesOfCredit = mostBytes / mostChunks

    /// Credits at the start.
    public let chunks: Int

    /// - Parameter credits: of the `dispatch`.
    public init(credits: Int) { chunks = max(1, credits) }

    /// - Parameter places: what the agent can have at a time.
    public init(places: Int) { chunks = max(1, Self.mostChunks / max(Self.mostChunks / Self.largest, places)) }

    public var bytes: Int { chunks * Self.bytesOfCredit }

    /// Bytes of a chunk at most: half of the window, since credits go back when half of it is owed, and whoever waits for room must not wait for ever.
    public var chunkLength: Int { min(Chunk.dataLength, bytes / 2) }
}

/// What an agent may send of all its streams before chunks are acknowledged (05 §14): each stream has credits of its own, and all together have a cap.
///
/// A stream without credits is not read from its engine, so that the engine waits; nothing is buffered beyond one chunk.
public struct AgentCredits: Sendable {
    private struct Stream: Sendable {
        let window: StreamWindow
        var credits: Int
        var unackedChunks = 0
        var unackedBytes = 0
    }

    private var streams: [String: Stream] = [:]
    public private(set) var unackedChunks = 0
    public private(set) var unackedBytes = 0

    public init() {}

    public mutating func begin(_ id: String, _ window: StreamWindow) {
        end(id)
        streams[id] = Stream(window: window, credits: window.chunks)
    }

    /// Whether a chunk of so many bytes may be sent now.
    public func maySend(_ id: String, bytes: Int) -> Bool {
        guard let stream = streams[id], stream.credits > 0 else { return false }
        return stream.unackedBytes + bytes <= stream.window.bytes && unackedChunks < StreamWindow.mostChunks
            && unackedBytes + bytes <= StreamWindow.mostBytes
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
    private let window: StreamWindow
    private var chunks = 0
    private var bytes = 0

    public init(_ window: StreamWindow) { self.window = window }

    /// Bytes of a chunk have been flushed to the client.
    /// - Returns: what to send back now; nil = nothing yet.
    public mutating func flushed(bytes count: Int) -> Credit? {
        chunks += 1
        bytes += count
        guard 2 * chunks >= window.chunks || 2 * bytes >= window.bytes else { return nil }
        defer { (chunks, bytes) = (0, 0) }
        return Credit(chunks: chunks, bytes: bytes)
    }
}
