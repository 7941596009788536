/// An answer as it is kept for replays: lines of headers, an empty line, the body.
package enum StoredAnswer {
    private static let lineEnd = Array("\r\n".utf8)

    /// nil = this answer gives the key back, so that the request may be sent again (04 §9).
    package static func encode(_ response: Response) -> [UInt8]? {
        guard isKept(status: response.status), case .bytes(let body) = response.body else { return nil }
        var bytes: [UInt8] = []
        for header in response.headers where isKept(header: header.name) {
            bytes += header.name.utf8
            bytes += ": ".utf8
            // As the client got it: a value has no second line.
            bytes += header.value.utf8.map { $0 < 0x20 ? UInt8(ascii: " ") : $0 }
            bytes += lineEnd
        }
        return bytes + lineEnd + body
    }

    /// nil = these bytes are no answer.
    package static func decode(_ bytes: [UInt8], status: Int, requestID: String) -> Response? {
        var response = Response(status: status, body: .bytes([]))
        var rest = bytes[...]
        while let end = rest.firstIndex(of: lineEnd[0]), rest.index(after: end) < rest.endIndex {
            let line = rest[..<end]
            rest = rest[(end + lineEnd.count)...]
            if line.isEmpty {
                response.body = .bytes(Array(rest))
                response.headers.append(("Idempotent-Replayed", "true"))
                response.requestID = requestID
                return response
            }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            response.headers.append(
                (String(decoding: line[..<colon], as: UTF8.self), String(decoding: line[(colon + 2)...], as: UTF8.self)))
        }
        return nil
    }

    private static func isKept(status: Int) -> Bool {
        switch status {
        case 401, 403, 408, 409, 429: false
        default: (200...299).contains(status) || (400...499).contains(status)
        }
    }

    /// What was left of a limit then says nothing about now; the rest the server writes anew, for the page that asks.
    private static func isKept(header name: String) -> Bool {
        let name = name.lowercased()
        return !["x-ratelimit-", "access-control-", "x-cors-"].contains { name.hasPrefix($0) }
            && !["x-request-id", "content-length", "vary"].contains(name)
    }
}
