import Foundation
import Glibc
import ObjectStore
import Threads

/// The object store of the tests, named by XEROTIER_STORE_URL and its like; `make test` starts one.
enum StoreServer {
    private static let environment = ProcessInfo.processInfo.environment
    static let isConfigured = environment["XEROTIER_STORE_URL"]?.isEmpty == false || environment["CI"] == "true"

    static func settings(url: String? = nil) -> StoreSettings {
        StoreSettings(
            url: url ?? environment["XEROTIER_STORE_URL"] ?? "", bucket: environment["XEROTIER_STORE_BUCKET"] ?? "",
            accessKey: environment["XEROTIER_STORE_ACCESS_KEY"] ?? "", secretKey: environment["XEROTIER_STORE_SECRET_KEY"] ?? "")
    }
}

/// Stands between a driver and the real store, and does what networks and busy stores do.
final class FaultyStore: Sendable {
    enum Mode: Equatable {
        case forward
        /// Closes each connection at once.
        case refuse
        /// Answers so, this many times, and forwards then.
        case answer(String, times: Int)
        /// Takes requests and says nothing.
        case stall
        /// Closes the connection after so many bytes of the store's answers.
        case cutAnswer(after: Int)
        /// Closes the connection after so many bytes of the client's requests.
        case cutRequest(after: Int)
    }

    private struct State {
        var mode = Mode.forward
        var connections = 0
        /// The clients' ends of those that are being forwarded.
        var open: Set<Int32> = []
    }

    static let slowDown = "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    static let skewed = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\n"

    private let state = Monitor(State())
    private let listener: Int32
    private let target: Int
    let url: String

    init() throws {
        target = URLComponents(string: StoreServer.settings().url)?.port ?? 0
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        let port = try withLoopback(0) { address, length in
            guard bind(listener, address, length) == 0, listen(listener, 64) == 0 else { throw POSIXError(.EADDRINUSE) }
            var length = length
            getsockname(listener, address, &length)
        }
        url = "http://127.0.0.1:\(port)"
        startThread("faulty store") { self.acceptForever() }
    }

    /// Ends the connections that there are, so that the next request of each client is met in the new mode.
    func set(_ mode: Mode) {
        state.change {
            $0.mode = mode
            for client in $0.open { shutdown(client, Int32(SHUT_RDWR)) }
        }
    }
    var connections: Int { state.withLock { $0.connections } }

    private func acceptForever() {
        while true {
            let client = accept(listener, nil, nil)
            guard client >= 0 else { return }
            state.withLock { $0.connections += 1 }
            startThread("faulty connection") { self.serve(client) }
        }
    }

    private func serve(_ client: Int32) {
        let mode = state.withLock { state -> Mode in
            let mode = state.mode
            if case .answer(let head, let times) = mode {
                state.mode = times > 1 ? .answer(head, times: times - 1) : .forward
            }
            return mode
        }
        switch mode {
        case .refuse: close(client)
        case .stall:
            discard(client)
            close(client)
        case .answer(let head, _):
            let code = head == Self.skewed ? "RequestTimeTooSkewed" : "SlowDown"
            let body = "<?xml version=\"1.0\"?><Error><Code>\(code)</Code><Message>no</Message></Error>"
            let answer = "\(head)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
            _ = answer.withCString { send(client, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
            shutdown(client, Int32(SHUT_WR))
            discard(client)
            close(client)
        case .forward: forward(client, requests: .max, answers: .max)
        case .cutAnswer(let bytes): forward(client, requests: .max, answers: bytes)
        case .cutRequest(let bytes): forward(client, requests: bytes, answers: .max)
        }
    }

    private func discard(_ client: Int32) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while recv(client, &buffer, buffer.count, 0) > 0 {}
    }

    private func forward(_ client: Int32, requests: Int, answers: Int) {
        _ = state.change { $0.open.insert(client) }
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        _ = try? withLoopback(target) { _ = connect(server, $0, $1) }
        let ended = DispatchGroup()
        for (from, to, most) in [(client, server, requests), (server, client, answers)] {
            ended.enter()
            startThread("pump") {
                pump(from, to, most)
                ended.leave()
            }
        }
        ended.wait()
        _ = state.change { $0.open.remove(client) }
        close(client)
        close(server)
    }
}

/// Passes so many bytes on, and closes both ends then.
private func pump(_ from: Int32, _ to: Int32, _ most: Int) {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    var left = most
    while left > 0 {
        let count = recv(from, &buffer, min(buffer.count, left), 0)
        guard count > 0 else { break }
        left -= count
        var sent = 0
        while sent < count {
            let written = buffer.withUnsafeBytes { send(to, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL)) }
            guard written > 0 else { break }
            sent += written
        }
    }
    shutdown(from, Int32(SHUT_RDWR))
    shutdown(to, Int32(SHUT_RDWR))
}

/// - Returns: the port in the address afterwards.
@discardableResult
private func withLoopback(_ port: Int, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) throws -> Void) throws -> Int {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    try withUnsafeMutablePointer(to: &address) {
        try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { try body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    return Int(UInt16(bigEndian: address.sin_port))
}
