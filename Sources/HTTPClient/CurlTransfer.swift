/// A request that curl makes as a whole, on a connection of its own: for answers that may be compressed. It belongs to one thread.
final class CurlTransfer {
    private let handle: CurlHandle

    /// - Parameter pin: where the connection may go; nil = curl looks the host up.
    init(_ request: HTTPRequest, _ settings: HTTPClientSettings, pin: HTTPPin?) {
        handle = CurlHandle(settings)
        handle.begin(request, pin: pin)
    }

    /// The bytes of the body that came over the network so far, before decompression.
    var receivedBytes: Int { handle.receivedBytes }

    /// Waits for the next event, at most until `instant`. Bytes are read from the socket only here and only when none are parked.
    func next(until instant: ContinuousClock.Instant) -> HTTPEvent {
        handle.discardDelivered()
        while true {
            if let event = handle.takeEvent() { return event }
            let milliseconds = (instant - .now).roundedUpMilliseconds
            if milliseconds <= 0 { return .timedOut }
            if handle.wait(milliseconds: milliseconds, extraDescriptor: nil) { return .extraDescriptorReady }
        }
    }
}
