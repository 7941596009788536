import CCurl
import Glibc

/// One connection, made by curl and spoken on by us (https://curl.se/libcurl/c/CURLOPT_CONNECT_ONLY.html).
///
/// Name lookup, trying several addresses, the check of each address, TLS and its certificates are curl's. HTTP is not: a whole transfer of curl
/// costs ten times what the bytes of a short answer do. An easy handle stands alone in a multi handle and is driven with curl_multi_poll until
/// it is connected: curl's event interface would take 29 KB for a table of sockets in each handle.
final class CurlConnection {
    /// What is before the path, such as `https://host:1234`.
    let origin: String
    private let easy: CurlEasy
    private let multi: UnsafeMutableRawPointer
    private let pin: HTTPPin?
    /// nil while connecting.
    private var outcome: CURLcode?
    private var socket: Int32 = -1
    /// Without TLS the bytes on the socket are the bytes of HTTP, and curl is not needed any more.
    private let isPlain: Bool
    private let buffer: UnsafeMutableRawBufferPointer

    /// What is waited for once the connection is open: the extra descriptor, and the socket.
    private var watched = [pollfd(fd: -1, events: 0, revents: 0), pollfd(fd: -1, events: 0, revents: 0)]

    /// Begins to connect.
    init(to origin: String, pin: HTTPPin?, _ settings: HTTPClientSettings) {
        buffer = .allocate(byteCount: settings.receiveBuffer, alignment: 16)
        easy = CurlEasy(settings, bufferSize: buffer.count)
        guard let multi = curl_multi_init() else { fatalError("out of memory") }
        self.origin = origin
        isPlain = origin.utf8.starts(with: "http:".utf8)
        self.multi = multi
        self.pin = pin
        curl_shim_set_string(easy.handle, CURLOPT_URL, origin)
        if let pin { curl_shim_set_list(easy.handle, CURLOPT_RESOLVE, pin.list) }
        curl_shim_set_long(easy.handle, CURLOPT_CONNECT_ONLY, 1)
        curl_multi_add_handle(multi, easy.handle)
        perform()
    }

    deinit {
        // This closes the connection.
        curl_multi_remove_handle(multi, easy.handle)
        curl_multi_cleanup(multi)
        buffer.deallocate()
    }

    // MARK: Connecting

    enum State {
        case connecting
        case open
        case failed(HTTPFailure)
    }

    var state: State {
        guard let outcome else { return .connecting }
        return outcome == CURLE_OK ? .open : .failed(failure(outcome))
    }

    private func perform() {
        var running: Int32 = 0
        let status = curl_multi_perform(multi, &running)
        if status != CURLM_OK {
            outcome = CURLE_OUT_OF_MEMORY
        } else if running == 0 {
            var code = CURLE_OK
            guard curl_shim_multi_result(multi, &code) != 0 else { return }
            outcome = code
            socket = curl_shim_socket(easy.handle)
            watched[1].fd = socket
            if isPlain && code == CURLE_OK { letReceiveWait() }
        }
    }

    private func letReceiveWait() {
        _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) & ~O_NONBLOCK)
        var limit = timeval(tv_sec: 0, tv_usec: Self.briefMilliseconds * 1000)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    // MARK: Waiting

    /// Waits until curl has something to do, the open connection is ready, the extra descriptor is readable or closed, or the time has passed.
    /// - Returns: true for the extra descriptor.
    func wait(milliseconds: Int32, toWrite: Bool, extraDescriptor: Int32?) -> Bool {
        guard outcome != nil else {
            var extra = curl_waitfd(fd: extraDescriptor ?? -1, events: Int16(CURL_WAIT_POLLIN), revents: 0)
            curl_multi_poll(multi, &extra, extraDescriptor == nil ? 0 : 1, milliseconds, nil)
            if extra.revents != 0 { return true }
            perform()
            return false
        }
        watched[0] = pollfd(fd: extraDescriptor ?? -1, events: Int16(POLLIN), revents: 0)
        watched[1].events = Int16(toWrite ? POLLIN | POLLOUT : POLLIN)
        return poll(&watched, 2, milliseconds) > 0 && watched[0].revents != 0
    }

    // MARK: Speaking

    /// - Returns: how many bytes went out, 0 when there is no room now; nil = the connection broke.
    func send(_ bytes: UnsafeRawBufferPointer) -> Int? {
        if isPlain {
            let count = Glibc.send(socket, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            return count >= 0 ? count : errno == EAGAIN || errno == EINTR ? 0 : nil
        }
        var count = 0
        switch curl_easy_send(easy.handle, bytes.baseAddress, bytes.count, &count) {
        case CURLE_OK: return count
        case CURLE_AGAIN: return 0
        default: return nil
        }
    }

    enum Received {
        /// Valid until the next call. `isFull`: there may be more, also where TLS has read ahead of the socket.
        case bytes(UnsafeRawBufferPointer, isFull: Bool)
        case nothingYet
        /// The other side has closed the connection in order.
        case end
        case broken
    }

    /// How long `receive` may wait: a piece that comes soon then costs no poll before it, and a client that leaves is still noticed in time.
    static let briefMilliseconds = 25

    /// - Parameter briefly: may wait for bytes, where that is possible.
    func receive(waiting briefly: Bool = false) -> Received {
        if isPlain {
            let count = recv(socket, buffer.baseAddress, buffer.count, briefly ? 0 : Int32(MSG_DONTWAIT))
            if count > 0 { return received(count) }
            return count == 0 ? .end : errno == EAGAIN || errno == EINTR ? .nothingYet : .broken
        }
        var count = 0
        switch curl_easy_recv(easy.handle, buffer.baseAddress, buffer.count, &count) {
        case CURLE_OK where count == 0: return .end
        case CURLE_OK: return received(count)
        case CURLE_AGAIN: return .nothingYet
        default: return .broken
        }
    }

    private func received(_ count: Int) -> Received {
        .bytes(UnsafeRawBufferPointer(rebasing: buffer[..<count]), isFull: count == buffer.count)
    }

    /// Whether `receive` can wait.
    var canWait: Bool { isPlain && outcome == CURLE_OK }

    /// Whether an idle connection may be used again: the other side has neither closed it nor said anything.
    var isQuiet: Bool {
        if case .nothingYet = receive() { true } else { false }
    }

    // MARK: Failures

    private func failure(_ code: CURLcode) -> HTTPFailure {
        let kind: HTTPFailure.Kind =
            switch code {
            case _ where easy.isBlocked: .blocked
            case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_OPERATION_TIMEDOUT: .cannotConnect
            case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE: .untrusted
            case CURLE_SEND_ERROR, CURLE_RECV_ERROR: .lost
            case CURLE_UNSUPPORTED_PROTOCOL, CURLE_URL_MALFORMAT: .malformed
            default: .other
            }
        return HTTPFailure(kind, String(cString: curl_easy_strerror(code)))
    }
}
