import FastCGI
import Server

/// Who gets a stream: the client, and the record of the stream where it can be asked for again. It belongs to the thread of its request.
final class StreamClient {
    private let stream: ResponseStream
    /// nil where the request has no Idempotency-Key.
    private var record: StreamRecord?
    /// A client that has left does not end a run that it may ask for again.
    private var isGone = false

    init(_ stream: ResponseStream, isReplayable: Bool) {
        self.stream = stream
        record = isReplayable ? StreamRecord() : nil
    }

    var hasBegun: Bool { stream.hasBegun }
    var headers: [(name: String, value: String)] {
        get { stream.headers }
        set { stream.headers = newValue }
    }

    /// - Throws: `ClientGone`, where nobody can ask for the stream again.
    func send(_ frames: [UInt8]) throws {
        record?.append(frames)
        try reach { try stream.send(frames) }
    }

    func keepAlive() throws { try reach { try stream.send(StreamFrames.keepAlive) } }

    /// The last frames.
    /// - Throws: `ClientGone`.
    func end(_ frames: [UInt8]) throws {
        if isGone { throw ClientGone() }
        try stream.send(frames)
    }

    /// The whole stream as one answer; nil where it is not recorded.
    func whole(endingWith end: [UInt8]) -> Response? {
        record.map { Response(headers: headers, body: .bytes($0.bytes + end)) }
    }

    private func reach(_ body: () throws -> Void) throws {
        guard !isGone else { return }
        do {
            try body()
        } catch is ClientGone where record != nil {
            isGone = true
        }
    }
}
