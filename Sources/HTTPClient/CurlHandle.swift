import CCurl
import Glibc

/// Whole transfers by curl, which decompresses: for `CurlTransfer`. One easy handle alone in a multi handle
/// (https://curl.se/libcurl/c/libcurl-multi.html).
///
/// curl says which sockets it waits for and until when; the waiting is done here, in one poll(2) together with the client's descriptor, and curl is
/// told which socket is ready, so that it need not ask again. It calls back only inside `act`; the callbacks park what they got here.
final class CurlHandle {
    private let easy: CurlEasy
    private let multi: UnsafeMutableRawPointer
    private let settings: HTTPClientSettings
    private var headers: UnsafeMutablePointer<curl_slist>?
    private var pin: HTTPPin?
    private var requestBody = ByteStore()
    private var isAdded = false
    private var hasBegun = false
    private var result: CURLcode?

    /// What curl waits for, after a first place for the extra descriptor.
    private var watched: [pollfd] = [pollfd(fd: -1, events: 0, revents: 0)]
    /// When curl wants to act though no socket is ready.
    fileprivate var timer: ContinuousClock.Instant?

    // Parked by the callbacks.
    fileprivate var body = ByteStore()
    fileprivate var headerLines: [UInt8] = []
    fileprivate var status = 0
    fileprivate var headIsComplete = false
    fileprivate var isOversized = false
    fileprivate var isTooLarge = false
    private var bodyBytes = 0
    private var hasGivenHead = false
    private var hasGivenBody = false
    /// After the last event was given.
    private(set) var isEnded = false

    init(_ settings: HTTPClientSettings) {
        easy = CurlEasy(settings, bufferSize: 8 * 1024)
        guard let multi = curl_multi_init() else { fatalError("out of memory") }
        self.multi = multi
        self.settings = settings
        curl_shim_multi_set_long(multi, CURLMOPT_MAXCONNECTS, 1)
        let context = Unmanaged.passUnretained(self).toOpaque()
        curl_shim_multi_set_watch_function(multi, watchSocket, context)
        curl_shim_multi_set_timer_function(multi, setTimer, context)
        setOptions()
    }

    deinit {
        curl_shim_multi_set_watch_function(multi, nil, nil)
        curl_shim_multi_set_timer_function(multi, nil, nil)
        if isAdded { curl_multi_remove_handle(multi, easy.handle) }
        curl_multi_cleanup(multi)
        curl_slist_free_all(headers)
    }

    private func setOptions() {
        let context = Unmanaged.passUnretained(self).toOpaque()
        let easy = easy.handle
        curl_shim_set_long(easy, CURLOPT_FOLLOWLOCATION, 0)
        curl_shim_set_long(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16 * 1024)
        curl_shim_set_bytes_function(easy, CURLOPT_WRITEFUNCTION, receiveBody)
        curl_shim_set_pointer(easy, CURLOPT_WRITEDATA, context)
        curl_shim_set_bytes_function(easy, CURLOPT_HEADERFUNCTION, receiveHeader)
        curl_shim_set_pointer(easy, CURLOPT_HEADERDATA, context)
        if settings.decompresses { curl_shim_set_string(easy, CURLOPT_ACCEPT_ENCODING, "") }
    }

    func begin(_ request: HTTPRequest, pin: HTTPPin?) {
        body.removeAll()
        headerLines.removeAll(keepingCapacity: true)
        (status, headIsComplete, isOversized, easy.isBlocked) = (0, false, false, false)
        (hasGivenHead, hasGivenBody, isEnded, hasBegun, result) = (false, false, false, false, nil)

        (isTooLarge, bodyBytes) = (false, 0)
        if pin !== self.pin {
            self.pin = pin
            curl_shim_set_list(easy.handle, CURLOPT_RESOLVE, pin?.list)
        }
        curl_shim_set_string(easy.handle, CURLOPT_URL, request.url)
        setHeaders(request)
        setBody(request)
        curl_multi_add_handle(multi, easy.handle)
        isAdded = true
    }

    private func setHeaders(_ request: HTTPRequest) {
        curl_slist_free_all(headers)
        // An empty value takes the header away: a body is never held back for "100 Continue".
        let lines = (request.extraHeader.map { [$0] } ?? []) + request.headers.texts + ["Expect:"]
        headers = lines.reduce(nil) { list, line in curl_slist_append(list, line) ?? list }
        curl_shim_set_list(easy.handle, CURLOPT_HTTPHEADER, headers)
    }

    private func setBody(_ request: HTTPRequest) {
        switch request.method {
        case .get:
            curl_shim_set_long(easy.handle, CURLOPT_HTTPGET, 1)
        case .head:
            curl_shim_set_long(easy.handle, CURLOPT_NOBODY, 1)
        case .delete:
            curl_shim_set_string(easy.handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue)
        case .post, .put:
            curl_shim_set_string(easy.handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue)
            requestBody.removeAll()
            request.body.withUnsafeBytes { requestBody.append($0) }
            curl_shim_set_long(easy.handle, CURLOPT_POST, 1)
            curl_shim_set_large(easy.handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.count))
            curl_shim_set_pointer(easy.handle, CURLOPT_POSTFIELDS, requestBody.start)
        }
    }

    /// Takes the transfer out of the multi handle. curl keeps the connection of an answer that was read to its end and closes any other.
    func end() {
        if isAdded { curl_multi_remove_handle(multi, easy.handle) }
        isAdded = false
        body.shrink()
        requestBody.shrink()
    }

    func discardDelivered() {
        if hasGivenBody { body.removeAll() }
        hasGivenBody = false
    }

    /// What the callbacks have parked, in its order.
    func takeEvent() -> HTTPEvent? {
        if !hasBegun { act(on: CURL_SOCKET_TIMEOUT, 0) }
        if headIsComplete && !hasGivenHead {
            hasGivenHead = true
            return .head(HTTPHead(status: status, lines: headerLines))
        }
        if !body.isEmpty {
            hasGivenBody = true
            return .body(body.bytes)
        }
        guard let result else { return nil }
        isEnded = true
        return result == CURLE_OK ? .finished : .failed(failure(result))
    }

    /// Waits for curl's sockets, its timer or the extra descriptor, then lets curl work.
    /// - Returns: true when the extra descriptor is readable or closed.
    func wait(milliseconds: Int32, extraDescriptor: Int32?) -> Bool {
        watched[0] = pollfd(fd: extraDescriptor ?? -1, events: Int16(POLLIN), revents: 0)
        let limit = timer.map { min(milliseconds, ($0 - .now).roundedUpMilliseconds) } ?? milliseconds
        let count = poll(&watched, nfds_t(watched.count), limit)
        if count > 0 {
            if watched[0].revents != 0 { return true }
            // Others that are ready wait for the next turn: curl may change the list now.
            if let ready = watched.first(where: { $0.revents != 0 }) { act(on: ready.fd, Self.readiness(ready.revents)) }
        } else if let timer, timer <= .now {
            act(on: CURL_SOCKET_TIMEOUT, 0)
        }
        return false
    }

    /// As curl itself reads it: what broke is readable and writable.
    private static func readiness(_ events: Int16) -> Int32 {
        let isReadable = events & Int16(POLLIN | POLLHUP | POLLERR | POLLNVAL) != 0
        let isWritable = events & Int16(POLLOUT | POLLERR | POLLNVAL) != 0
        return (isReadable ? CURL_CSELECT_IN : 0) | (isWritable ? CURL_CSELECT_OUT : 0)
    }

    fileprivate func watch(_ socket: Int32, for what: Int32) {
        if let place = watched.indices.dropFirst().first(where: { watched[$0].fd == socket }) { watched.remove(at: place) }
        var events: Int16 = 0
        if what == CURL_POLL_IN || what == CURL_POLL_INOUT { events |= Int16(POLLIN) }
        if what == CURL_POLL_OUT || what == CURL_POLL_INOUT { events |= Int16(POLLOUT) }
        if events != 0 { watched.append(pollfd(fd: socket, events: events, revents: 0)) }
    }

    private func act(on socket: Int32, _ readiness: Int32) {
        hasBegun = true
        var running: Int32 = 0
        let status = curl_multi_socket_action(multi, socket, readiness, &running)
        if status != CURLM_OK {
            result = CURLE_OUT_OF_MEMORY
        } else if running == 0 {
            var code = CURLE_OK
            if curl_shim_multi_result(multi, &code) != 0 { result = code }
        }
    }

    private func failure(_ code: CURLcode) -> HTTPFailure {
        let kind: HTTPFailure.Kind =
            switch code {
            case _ where easy.isBlocked: .blocked
            case _ where isOversized: .malformed
            case _ where isTooLarge: .tooLarge
            case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_OPERATION_TIMEDOUT: .cannotConnect
            case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE: .untrusted
            case CURLE_PARTIAL_FILE, CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR: .lost
            case CURLE_UNSUPPORTED_PROTOCOL, CURLE_WEIRD_SERVER_REPLY, CURLE_BAD_CONTENT_ENCODING: .malformed
            default: .other
            }
        return HTTPFailure(kind, String(cString: curl_easy_strerror(code)))
    }

    fileprivate func receiveHeaderLine(_ line: UnsafeRawBufferPointer) -> Bool {
        if headIsComplete { return true }  // a trailer
        if line.starts(with: "HTTP/".utf8) {
            status = line.split(separator: 32, maxSplits: 2).dropFirst().first.flatMap { Int(String(decoding: $0, as: UTF8.self)) } ?? 0
            headerLines.removeAll(keepingCapacity: true)
        } else if line.count <= 2 {
            headIsComplete = status >= 200
        } else {
            headerLines.append(contentsOf: line)
        }
        isOversized = headerLines.count > 64 * 1024
        return !isOversized
    }

    /// False ends the transfer. Counted here and not by the reader: a few compressed bytes can become very many before he sees the first.
    fileprivate func receiveBodyBytes(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bodyBytes += bytes.count
        isTooLarge = bodyBytes > settings.maximumBody ?? .max
        if !isTooLarge { body.append(bytes) }
        return !isTooLarge
    }

    var receivedBytes: Int { Int(curl_shim_received_bytes(easy.handle)) }
}

private func handle(_ context: UnsafeMutableRawPointer) -> CurlHandle { Unmanaged.fromOpaque(context).takeUnretainedValue() }

private func watchSocket(
    easy: UnsafeMutableRawPointer?, socket: Int32, what: Int32, context: UnsafeMutableRawPointer?, socketContext: UnsafeMutableRawPointer?
) -> Int32 {
    if let context { handle(context).watch(socket, for: what) }
    return 0
}

private func setTimer(multi: UnsafeMutableRawPointer?, milliseconds: Int, context: UnsafeMutableRawPointer?) -> Int32 {
    if let context { handle(context).timer = milliseconds < 0 ? nil : .now + .milliseconds(milliseconds) }
    return 0
}

private func receiveBody(bytes: UnsafeMutablePointer<CChar>?, size: Int, count: Int, context: UnsafeMutableRawPointer?) -> Int {
    guard let context else { return 0 }
    return handle(context).receiveBodyBytes(UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
}

private func receiveHeader(bytes: UnsafeMutablePointer<CChar>?, size: Int, count: Int, context: UnsafeMutableRawPointer?) -> Int {
    guard let context else { return 0 }
    return handle(context).receiveHeaderLine(UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
}
