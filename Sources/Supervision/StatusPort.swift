import Glibc
import Threads

/// Answers `GET /metrics` and `GET /healthz` (200: enrolled and connected, else 503), one short connection at a time.
package enum StatusPort {
    /// - Parameter address: IPv4, such as 127.0.0.1.
    /// - Throws: `SettingError` when nobody can listen there.
    package static func open(_ metrics: AgentMetrics, address: String, port: Int) throws {
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = UInt16(port).bigEndian
        guard inet_pton(AF_INET, address, &place.sin_addr) == 1 else { throw SettingError("METRICS_ADDR", "must be an IPv4 address") }
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let isBound = withUnsafePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
        }
        guard isBound, listen(listener, 16) == 0 else {
            let why = String(cString: strerror(errno))
            close(listener)
            throw SettingError("METRICS_PORT", "cannot listen on \(address):\(port): \(why)")
        }
        startThread("status") {
            while true {
                let connection = accept(listener, nil, nil)
                // Out of descriptors: wait rather than spin.
                if connection >= 0 {
                    // An engine that is started meanwhile shall not hold it.
                    _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
                    answer(connection, metrics)
                } else {
                    usleep(100_000)
                }
            }
        }
    }

    private static func answer(_ connection: Int32, _ metrics: AgentMetrics) {
        defer { close(connection) }
        var patience = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var request = [UInt8](repeating: 0, count: 2_048)
        let count = read(connection, &request, request.count)
        guard count > 0 else { return }
        let line = String(decoding: request.prefix(count).prefix { $0 != 13 && $0 != 10 }, as: UTF8.self)
        let (status, body) =
            switch line.split(separator: " ").prefix(2).joined(separator: " ") {
            case "GET /metrics": ("200 OK", metrics.render())
            case "GET /healthz": metrics.isConnected ? ("200 OK", "connected\n") : ("503 Service Unavailable", "not connected\n")
            default: ("404 Not Found", "not found\n")
            }
        let head =
            "HTTP/1.0 \(status)\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
        var rest = Array((head + body).utf8)[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { return }
            rest = rest.dropFirst(sent)
        }
    }
}
