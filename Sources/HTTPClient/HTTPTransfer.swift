/// A running request. It belongs to one thread; when it is released before its end, its connection is closed.
public final class HTTPTransfer {
    private let client: HTTPClient?
    private let request: HTTPRequest
    private let origin: String
    private let pin: HTTPPin?
    private let extraDescriptor: Int32?
    /// nil after the end.
    private var connection: CurlConnection?
    /// Whether the connection has served before: then it may have been closed while nobody looked.
    private var isReused: Bool
    /// What goes out first: the head, and a small body after it.
    private let head: [UInt8]
    /// Bytes of head and body that are out.
    private var sent = 0
    private var reader = HTTPResponseReader()
    /// The connection may hold more than was read.
    private var mayReadOn = false
    /// The next `receive` is to wait.
    private var waitsBriefly = false
    /// It has waited since the last bytes; from now on poll(2) waits, for the client too.
    private var hasWaited = false
    /// What ended it before it began.
    private var refusal: HTTPFailure?

    /// A body of this size is copied behind the head, so that both go out in one call.
    private static let smallBody = 16 * 1024

    init(
        _ request: HTTPRequest, origin: String, path: Substring, on kept: CurlConnection?, pin: HTTPPin?, of client: HTTPClient,
        extraDescriptor: Int32?
    ) {
        self.pin = pin
        self.client = client
        self.request = request
        self.origin = origin
        self.extraDescriptor = extraDescriptor
        isReused = kept != nil
        head = Self.head(request, origin: origin, path: path)
        if request.url.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) {
            refusal = HTTPFailure(.malformed, "the URL would not be one line of a request")
        } else {
            connection = kept ?? client.connect(to: origin, pin: pin)
            reader.isForHead = request.method == .head
        }
    }

    /// One that was refused before anything was sent.
    public init(refused: HTTPFailure) {
        (client, extraDescriptor, pin, isReused, head) = (nil, nil, nil, false, [])
        (request, origin) = (HTTPRequest(.get, "", headers: HTTPHeaders([])), "")
        refusal = refused
    }

    deinit { cancel() }

    /// Waits for the next event, at most until `instant`.
    ///
    /// Bytes are read from the socket only here and only when none are left, so a caller that stops calling stops the sender.
    public func next(until instant: ContinuousClock.Instant) -> HTTPEvent {
        if let refusal { return end(.failed(refusal)) }
        while let connection {
            if let event = advance(connection) { return event }
            let milliseconds = (instant - .now).roundedUpMilliseconds
            if milliseconds <= 0 { return .timedOut }
            guard let waiting = self.connection else { break }
            if !hasWaited && isSent && waiting.canWait && milliseconds >= CurlConnection.briefMilliseconds {
                (mayReadOn, waitsBriefly, hasWaited) = (true, true, true)
                continue
            }
            if waiting.wait(milliseconds: milliseconds, toWrite: !isSent, extraDescriptor: extraDescriptor) { return .extraDescriptorReady }
            mayReadOn = true
        }
        return .finished
    }

    /// Closes the connection at once; a transfer that has ended is not touched.
    public func cancel() { connection = nil }

    private var isSent: Bool { sent == head.count + separateBody.count }
    private var separateBody: [UInt8] { request.body.count > Self.smallBody ? request.body : [] }

    /// Does what can be done without waiting; nil = nothing any more.
    private func advance(_ connection: CurlConnection) -> HTTPEvent? {
        switch connection.state {
        case .connecting: return nil
        case .failed(let failure): return end(.failed(failure))
        case .open: break
        }
        // An answer may have come before the connection broke.
        if !isSent, !send(on: connection) { mayReadOn = true }
        while true {
            switch reader.next() {
            case .head(let head): return .head(head)
            case .body(let bytes): return .body(bytes)
            case .end: return finish(connection)
            case .malformed: return end(.failed(HTTPFailure(.malformed, "the answer is not HTTP/1.1")))
            case .needsBytes:
                guard mayReadOn else { return nil }
                if let event = receive(on: connection) { return event }
                if self.connection !== connection { return nil }
            }
        }
    }

    /// False when the connection broke.
    private func send(on connection: CurlConnection) -> Bool {
        while !isSent {
            let isHead = sent < head.count
            let count = (isHead ? head : separateBody).withUnsafeBytes { bytes in
                connection.send(UnsafeRawBufferPointer(rebasing: bytes[(isHead ? sent : sent - head.count)...]))
            }
            guard let count else { return false }
            if count == 0 { break }
            sent += count
        }
        return true
    }

    /// Reads once; what it gives ends the transfer.
    private func receive(on connection: CurlConnection) -> HTTPEvent? {
        defer { waitsBriefly = false }
        switch connection.receive(waiting: waitsBriefly) {
        case .bytes(let bytes, let isFull):
            reader.take(bytes)
            hasWaited = false
            mayReadOn = isFull
            return nil
        case .nothingYet:
            mayReadOn = false
            return nil
        case .end: return closed(inOrder: true)
        case .broken: return closed(inOrder: false)
        }
    }

    private func closed(inOrder: Bool) -> HTTPEvent? {
        if isReused && !reader.hasReadAnything {
            startAgain()
            return nil
        }
        if inOrder && reader.close() { return end(.finished) }
        return end(.failed(HTTPFailure(.lost, "the connection was closed before the answer was complete")))
    }

    /// A kept connection that the server has closed meanwhile is replaced, unseen.
    private func startAgain() {
        isReused = false
        sent = 0
        (mayReadOn, hasWaited) = (false, false)
        connection = client?.connect(to: origin, pin: pin)
    }

    private func finish(_ connection: CurlConnection) -> HTTPEvent {
        if isSent && reader.leavesConnectionOpen { client?.takeBack(connection) }
        return end(.finished)
    }

    private func end(_ event: HTTPEvent) -> HTTPEvent {
        (connection, refusal) = (nil, nil)
        return event
    }

    private static func head(_ request: HTTPRequest, origin: String, path: Substring) -> [UInt8] {
        var head: [UInt8] = []
        head.reserveCapacity(512 + path.utf8.count + min(request.body.count, smallBody) + request.headers.lines.count)
        func append(_ text: some StringProtocol) { head.append(contentsOf: text.utf8) }
        append(request.method.rawValue)
        append(" ")
        append(path)
        append(" HTTP/1.1\r\nHost: ")
        append(HTTPClient.authority(of: origin))
        append("\r\n")
        head.append(contentsOf: request.headers.lines)
        if let extra = request.extraHeader {
            append(extra)
            append("\r\n")
        }
        if request.method.hasBody {
            append("Content-Length: ")
            append(String(request.body.count))
            append("\r\n")
        }
        append("\r\n")
        if request.body.count <= smallBody { head.append(contentsOf: request.body) }
        return head
    }
}

extension Duration {
    /// For C calls that take whole milliseconds: never early, never more than an hour.
    package var roundedUpMilliseconds: Int32 {
        let (seconds, attoseconds) = components
        if seconds >= 3600 { return 3_600_000 }
        if seconds < 0 || attoseconds < 0 { return 0 }
        return Int32(seconds) * 1000 + Int32((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
