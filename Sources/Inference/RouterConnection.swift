import Glibc
import HTTPClient
import Mesh
import Threads

/// A connection to a router of this machine. It serves one call after another, and belongs to the thread that holds it.
final class RouterConnection {
    enum Event {
        case message(Message)
        /// The router has closed it, has gone, or says what cannot be read.
        case lost
        case descriptorReady
        case timedOut
    }

    let router: Int
    let descriptor: Int32
    private var stream = MessageStream()
    private var isLost = false
    private let open: OpenConnections?

    /// - Parameter open: where it is listed for as long as it is open.
    /// - Throws: where nobody listens at the path.
    init(to path: String, router: Int, in open: OpenConnections? = nil) throws(LocalSocketError) {
        self.router = router
        descriptor = try LocalSocket.connect(to: path)
        self.open = open
        open?.add(descriptor)
    }

    deinit {
        // Before the number can be another's.
        open?.remove(descriptor)
        close(descriptor)
    }

    /// It is there, and nothing is on it that an earlier call has not read.
    var isReady: Bool {
        guard !isLost, stream.isEmpty else { return false }
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) < 0 && errno == EAGAIN
    }

    /// Sends all of it, as long as the router takes it. A router that has gone is found out by `next`, after what it has said before.
    func send(_ message: Message, until instant: ContinuousClock.Instant) {
        var bytes: [UInt8] = []
        message.append(to: &bytes)
        var sent = 0
        while sent < bytes.count && !isLost {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                isLost = !waitForRoom(until: instant)
            } else if errno != EINTR {
                return
            }
        }
    }

    /// The next message; waits for it, or for the other descriptor to be readable or closed.
    func next(until instant: ContinuousClock.Instant, orDescriptor other: Int32? = nil) -> Event {
        while true {
            do throws(FrameError) {
                if let message = try stream.next(from: .relay) { return .message(message) }
            } catch { isLost = true }
            if isLost { return .lost }
            switch waitForInput(descriptor, other ?? -1, until: instant) {
            case .first: receive()
            case .second: return .descriptorReady
            case .timedOut: return .timedOut
            }
        }
    }

    private func receive() {
        let count = withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 8) { buffer in
            let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 { stream.append(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
            return count
        }
        if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) { isLost = true }
    }

    private func waitForRoom(until instant: ContinuousClock.Instant) -> Bool {
        while true {
            var item = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let ready = poll(&item, 1, (instant - .now).roundedUpMilliseconds)
            if ready >= 0 || errno != EINTR { return ready > 0 }
        }
    }
}

/// The connections to one router that are open, whoever holds them.
final class OpenConnections: Sendable {
    private let descriptors = Lock<Set<Int32>>([])

    fileprivate func add(_ descriptor: Int32) { descriptors.withLock { _ = $0.insert(descriptor) } }
    fileprivate func remove(_ descriptor: Int32) { descriptors.withLock { _ = $0.remove(descriptor) } }

    /// Their holders see that the router is lost.
    func cut() {
        descriptors.withLock { for descriptor in $0 { shutdown(descriptor, Int32(SHUT_RDWR)) } }
    }
}
