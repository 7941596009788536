import Foundation

/// One connection of a FastCGI client, as nginx is one; see https://fastcgi-archives.github.io/FastCGI_Specification.html.
final class FastCGIClient {
    struct Answer {
        var head = ""
        var body: [UInt8] = []
        /// True once END_REQUEST has come; false when the connection was closed before.
        var isComplete = false

        var text: String { String(decoding: body, as: UTF8.self) }
        var status: Int? { head.firstMatch(of: /Status: ([0-9]+)/).flatMap { Int($0.output.1) } }
        func header(_ name: String) -> String? {
            let lines = head.components(separatedBy: "\r\n").filter { $0.lowercased().hasPrefix(name.lowercased() + ": ") }
            return lines.first.map { String($0.dropFirst(name.count + 2)) }
        }
    }

    private enum Kind: UInt8 { case beginRequest = 1, endRequest = 3, params = 4, stdin = 5, stdout = 6 }

    private let descriptor: Int32
    private var received: [UInt8] = []
    private var isClosed = false

    init(path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard withUnixAddress(path, { connect(descriptor, $0, $1) }) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    }

    deinit { leave() }

    /// Closes the connection, also in the middle of a request.
    func leave() {
        if !isClosed { close(descriptor) }
        isClosed = true
    }

    func get(_ path: String, _ headers: [(String, String)] = []) throws -> Answer {
        try call([("REQUEST_METHOD", "GET"), ("REQUEST_URI", path)] + headers, [])
    }

    func post(_ path: String, _ body: [UInt8], _ headers: [(String, String)] = []) throws -> Answer {
        let own = [
            ("REQUEST_METHOD", "POST"), ("REQUEST_URI", path), ("CONTENT_TYPE", "application/json"), ("CONTENT_LENGTH", "\(body.count)"),
        ]
        return try call(own + headers, body)
    }

    func call(_ parameters: [(String, String)], _ body: [UInt8]) throws -> Answer {
        try send(parameters, body)
        return receive()
    }

    /// Sends a request whole. The front may answer and close before it has read all.
    func send(_ parameters: [(String, String)], _ body: [UInt8] = []) throws {
        try begin(parameters)
        try sendBody(body)
        try write(record(.stdin, []))
    }

    /// Sends a request up to its body. It asks to keep the connection.
    func begin(_ parameters: [(String, String)]) throws {
        var block: [UInt8] = []
        for (name, value) in parameters {
            block += length(name.utf8.count) + length(value.utf8.count)
            block += name.utf8
            block += value.utf8
        }
        var bytes = record(.beginRequest, [0, 1, 1, 0, 0, 0, 0, 0])
        for start in stride(from: 0, to: block.count, by: 0xFFFF) {
            bytes += record(.params, block[start..<min(start + 0xFFFF, block.count)])
        }
        try write(bytes + record(.params, []))
    }

    func sendBody(_ body: [UInt8]) throws {
        for start in stride(from: 0, to: body.count, by: 32_768) {
            try write(record(.stdin, body[start..<min(start + 32_768, body.count)]))
        }
    }

    func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Foundation.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
            sent += count
        }
    }

    /// Reads one answer, to its end or to that of the connection.
    func receive() -> Answer {
        var output: [UInt8] = []
        var answer = Answer()
        while let (kind, content) = nextRecord() {
            if kind == Kind.stdout.rawValue { output += content }
            if kind == Kind.endRequest.rawValue {
                answer.isComplete = true
                break
            }
        }
        let end = output.firstRange(of: Array("\r\n\r\n".utf8))
        answer.head = String(decoding: output[..<(end?.lowerBound ?? output.endIndex)], as: UTF8.self)
        answer.body = Array(output[(end?.upperBound ?? output.endIndex)...])
        return answer
    }

    /// Waits for anything to read, be it the end.
    func isReadable(within milliseconds: Int32) -> Bool {
        var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&item, 1, milliseconds) > 0
    }

    private func nextRecord() -> (kind: UInt8, content: ArraySlice<UInt8>)? {
        guard fill(8) else { return nil }
        let count = Int(received[4]) << 8 | Int(received[5])
        let padding = Int(received[6])
        guard fill(8 + count + padding) else { return nil }
        defer { received.removeFirst(8 + count + padding) }
        return (received[1], received[8..<8 + count])
    }

    private func fill(_ count: Int) -> Bool {
        while received.count < count {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let got = isClosed ? 0 : recv(descriptor, &chunk, chunk.count, 0)
            guard got > 0 else { return false }
            received += chunk[..<got]
        }
        return true
    }

    private func record(_ kind: Kind, _ content: some Collection<UInt8>) -> [UInt8] {
        // An odd padding, which servers must skip; libfcgi does so everywhere but after BEGIN_REQUEST, and nginx puts none there.
        let padding = content.isEmpty || kind == .beginRequest ? 0 : 3
        return [1, kind.rawValue, 0, 1, UInt8(content.count >> 8), UInt8(content.count & 255), UInt8(padding), 0] + content
            + [UInt8](repeating: 0xAA, count: padding)
    }

    private func length(_ count: Int) -> [UInt8] {
        count < 128 ? [UInt8(count)] : [UInt8(count >> 24) | 128, UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255)]
    }
}

/// Lends the address of a unix socket to `body`.
func withUnixAddress<Answer>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Answer) -> Answer {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
}
