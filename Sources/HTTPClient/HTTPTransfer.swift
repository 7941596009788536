/// A running request. It belongs to one thread; when it is released before its end, its connection is closed.
public final class HTTPTransfer {
    private let client: HTTPClient?
    private let extraDescriptor: Int32?
    /// nil after the end.
    private var handle: CurlHandle?
    /// What ended it before it began.
    private var refusal: HTTPFailure?

    init(_ handle: CurlHandle, of client: HTTPClient, extraDescriptor: Int32?) {
        self.handle = handle
        self.client = client
        self.extraDescriptor = extraDescriptor
    }

    /// One that was refused before anything was sent.
    public init(refused: HTTPFailure) {
        (client, handle, extraDescriptor) = (nil, nil, nil)
        refusal = refused
    }

    deinit { cancel() }

    /// The bytes of the body that came over the network so far, before decompression; asked for before the end.
    public var receivedBytes: Int { handle?.receivedBytes ?? 0 }

    /// Waits for the next event, at most until `instant`.
    ///
    /// Bytes are read from the socket only here and only when none are parked, so a caller that stops calling
    /// stops the sender: no more than curl takes in one go is ever kept.
    public func next(until instant: ContinuousClock.Instant) -> HTTPEvent {
        if let refusal {
            self.refusal = nil
            return .failed(refusal)
        }
        guard let handle else { return .finished }
        handle.discardDelivered()
        while true {
            if let event = handle.takeEvent() {
                if handle.isEnded { release() }
                return event
            }
            let milliseconds = (instant - .now).roundedUpMilliseconds
            if milliseconds <= 0 { return .timedOut }
            if handle.wait(milliseconds: milliseconds, extraDescriptor: extraDescriptor) { return .extraDescriptorReady }
        }
    }

    /// Closes the connection at once; a transfer that has ended is not touched.
    public func cancel() { release() }

    private func release() {
        guard let handle else { return }
        self.handle = nil
        client?.takeBack(handle)
    }
}

extension Duration {
    /// For C calls that take whole milliseconds: never early, never more than an hour.
    var roundedUpMilliseconds: Int32 {
        let (seconds, attoseconds) = components
        if seconds >= 3600 { return 3_600_000 }
        if seconds < 0 || attoseconds < 0 { return 0 }
        return Int32(seconds) * 1000 + Int32((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
