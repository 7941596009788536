import Foundation
import Glibc
import Synchronization

/// A server that does to its connections what a test wants, byte by byte. One thread for each connection.
final class RawServer: Sendable {
    let port: Int
    let connections = Atomic(0)
    let requests = Atomic(0)
    private let listener: Int32
    var origin: String { "http://127.0.0.1:\(port)" }
    var authority: String { "127.0.0.1:\(port)" }

    init(_ serve: @escaping @Sendable (RawConnection) -> Void) throws {
        signal(SIGPIPE, SIG_IGN)
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && listen(listener, 512) == 0 && getsockname(listener, address, &length) == 0
            }
        }
        guard bound else { throw POSIXError(.EADDRINUSE) }
        port = Int(UInt16(bigEndian: address.sin_port))
        let thread = Thread { [self] in
            while true {
                let descriptor = accept(listener, nil, nil)
                if descriptor < 0 { return }
                connections.add(1, ordering: .relaxed)
                let connection = Thread { serve(RawConnection(descriptor, server: self)) }
                connection.stackSize = 1 << 18
                connection.start()
            }
        }
        thread.start()
    }

    /// Takes no more connections: they are refused from now on.
    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }
}

final class RawConnection {
    private let descriptor: Int32
    private let server: RawServer
    private var buffer: [UInt8] = []
    private var isClosed = false

    init(_ descriptor: Int32, server: RawServer) {
        self.descriptor = descriptor
        self.server = server
    }

    deinit { end() }

    /// False when the client closed. Signals that other tests send interrupt nothing here.
    private func receive() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count > 0 { buffer.append(contentsOf: chunk[..<count]) }
            if count >= 0 || errno != EINTR { return count > 0 }
        }
    }

    /// The next request as text, or nil when the client closed.
    func readRequest() -> String? {
        while !isClosed {
            let text = String(decoding: buffer, as: UTF8.self)
            if let headEnd = text.range(of: "\r\n\r\n") {
                let length =
                    text.components(separatedBy: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
                    .flatMap { Int($0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces)) } ?? 0
                let total = text.utf8.distance(from: text.startIndex, to: headEnd.upperBound) + length
                if buffer.count >= total {
                    let request = String(decoding: buffer[..<total], as: UTF8.self)
                    buffer.removeFirst(total)
                    server.requests.add(1, ordering: .relaxed)
                    return request
                }
            }
            guard receive() else { return nil }
        }
        return nil
    }

    /// What comes up to and with `end`; nil when the client closed.
    func read(until end: String) -> String? {
        while !isClosed {
            let text = String(decoding: buffer, as: UTF8.self)
            if let range = text.range(of: end) {
                let part = String(text[..<range.upperBound])
                buffer.removeFirst(part.utf8.count)
                return part
            }
            guard receive() else { return nil }
        }
        return nil
    }

    @discardableResult func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    @discardableResult func send(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBufferPointer { bytes in
            var sent = 0
            while sent < bytes.count {
                let count = Glibc.send(descriptor, bytes.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
                if count < 0, errno == EINTR { continue }
                if count <= 0 { return false }
                sent += count
            }
            return true
        }
    }

    func sendChunk(_ text: String) { send(String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n") }

    func answer(_ status: String, type: String = "application/json", headers: String = "", _ body: String) {
        send("HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\n\(headers)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    func startStream() { send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n") }

    func end() {
        if !isClosed { close(descriptor) }
        isClosed = true
    }

    func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        end()
    }

    /// Waits until the client closes.
    func waitForClose(_ limit: Duration = .seconds(5)) -> Bool {
        var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&item, 1, Int32(limit.components.seconds * 1000)) > 0 && readRequest() == nil
    }
}

/// Both ends of a connection whose far end stands for the client of the gateway.
final class ClientStandIn: @unchecked Sendable {
    let descriptor: Int32
    private let far: Int32

    init() {
        var pair: [Int32] = [0, 0]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair)
        (descriptor, far) = (pair[0], pair[1])
    }

    func leave() { shutdown(far, Int32(SHUT_RDWR)) }

    deinit {
        close(descriptor)
        close(far)
    }
}
