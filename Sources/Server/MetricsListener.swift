import Glibc
import Threads

/// Answers `GET /metrics` on a loopback port, one short connection at a time. nginx does not lead there.
public enum MetricsListener {
    public struct CannotListen: Error, CustomStringConvertible {
        public let description: String
    }

    /// - Throws: `CannotListen` when the port is taken.
    public static func start(port: UInt16, _ metrics: Metrics) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard bound == 0, listen(listener, 16) == 0 else {
            close(listener)
            throw CannotListen(description: "metrics_port: cannot listen on 127.0.0.1:\(port): \(String(cString: strerror(errno)))")
        }
        startThread("metrics") {
            while true {
                let connection = accept(listener, nil, nil)
                if connection >= 0 {
                    answer(connection, metrics)
                } else {
                    // Out of descriptors: wait rather than spin.
                    usleep(100_000)
                }
            }
        }
    }

    private static func answer(_ connection: Int32, _ metrics: Metrics) {
        defer { close(connection) }
        var patience = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var request = [UInt8](repeating: 0, count: 2048)
        let count = read(connection, &request, request.count)
        guard count > 0 else { return }
        let found = request.prefix(count).starts(with: "GET /metrics".utf8)
        let body = found ? metrics.render() : "not found\n"
        let head =
            "HTTP/1.0 \(found ? "200 OK" : "404 Not Found")\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
        var rest = Array((head + body).utf8)[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { write(connection, $0.baseAddress, $0.count) }
            guard sent > 0 else { return }
            rest = rest.dropFirst(sent)
        }
    }
}
