import Glibc

/// Takes HTTP/1.1 answers apart (RFC 9112): bytes in, head and pieces of the body out. It reads strictly: what could be understood in two ways
/// is malformed.
///
/// Pieces of the body are given where they were read; only lines that came in parts are copied.
struct HTTPResponseReader: ~Copyable {
    enum Step {
        /// Nothing is left: the caller is to read more.
        case needsBytes
        case head(HTTPHead)
        /// Valid until the next call.
        case body(UnsafeRawBufferPointer)
        case end
        case malformed
    }

    private enum State {
        case statusLine
        case headers
        case body(left: Int)
        case bodyUntilClose
        case chunkSize
        case chunk(left: Int)
        case chunkEnd
        case trailers
        case done
    }

    /// Of all lines before the body.
    private static let largestHead = 64 * 1024

    private var unread = UnsafeRawBufferPointer(start: nil, count: 0)
    private var state = State.statusLine
    /// A line that came in parts.
    private var line = ByteStore()
    private var hasGivenLine = false
    private var headBytes = 0
    private var status = 0
    private var headerLines: [UInt8] = []
    private var framing = Framing()
    private(set) var hasReadAnything = false
    /// The answer to HEAD states a length and has no body.
    var isForHead = false

    /// Whether the connection can carry another request. Asked after the end.
    var leavesConnectionOpen: Bool { framing.isKept && unread.isEmpty }

    /// Goes on with these bytes, which stay until it needs others.
    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        unread = bytes
        hasReadAnything = true
    }

    /// The connection has ended.
    /// - Returns: true when the answer was complete with that.
    mutating func close() -> Bool {
        switch state {
        case .bodyUntilClose, .done:
            state = .done
            return true
        default: return false
        }
    }

    mutating func next() -> Step {
        while true {
            switch state {
            case .statusLine:
                guard let line = takeLine() else { return waitForLine() }
                guard let (status, isNew) = Self.statusLine(line) else { return .malformed }
                self.status = status
                framing = Framing()
                framing.isKept = isNew
                headerLines.removeAll(keepingCapacity: true)
                state = .headers
            case .headers:
                guard let line = takeLine() else { return waitForLine() }
                if !line.isEmpty {
                    guard framing.read(line) else { return .malformed }
                    headerLines.append(contentsOf: line)
                    headerLines.append(UInt8(ascii: "\n"))
                } else if status == 101 {
                    return .malformed
                } else if status < 200 {
                    // 100 Continue: the answer proper follows.
                    state = .statusLine
                } else {
                    state = bodyState()
                    return .head(HTTPHead(status: status, lines: headerLines))
                }
            case .body(let left):
                guard left > 0 else {
                    state = .done
                    continue
                }
                guard let piece = takePiece(atMost: left) else { return .needsBytes }
                state = .body(left: left - piece.count)
                return .body(piece)
            case .bodyUntilClose:
                return takePiece(atMost: .max).map { .body($0) } ?? .needsBytes
            case .chunkSize:
                guard let line = takeLine() else { return waitForLine() }
                guard let size = Self.chunkSize(line) else { return .malformed }
                headBytes = 0
                state = size == 0 ? .trailers : .chunk(left: size)
            case .chunk(let left):
                guard left > 0 else {
                    state = .chunkEnd
                    continue
                }
                guard let piece = takePiece(atMost: left) else { return .needsBytes }
                state = .chunk(left: left - piece.count)
                return .body(piece)
            case .chunkEnd:
                guard let line = takeLine() else { return waitForLine() }
                guard line.isEmpty else { return .malformed }
                state = .chunkSize
            case .trailers:
                guard let line = takeLine() else { return waitForLine() }
                if line.isEmpty { state = .done }
            case .done:
                return .end
            }
        }
    }

    private func waitForLine() -> Step { headBytes > Self.largestHead ? .malformed : .needsBytes }

    private mutating func bodyState() -> State {
        headBytes = 0
        if status == 204 || status == 304 || isForHead { return .done }
        if framing.isChunked {
            // Two lengths: the chunks count, and nothing that follows is trusted.
            if framing.length != nil { framing.isKept = false }
            return .chunkSize
        }
        if let length = framing.length { return .body(left: length) }
        framing.isKept = false
        return .bodyUntilClose
    }

    private mutating func takePiece(atMost most: Int) -> UnsafeRawBufferPointer? {
        guard !unread.isEmpty else { return nil }
        let piece = UnsafeRawBufferPointer(rebasing: unread.prefix(most))
        unread = UnsafeRawBufferPointer(rebasing: unread[piece.count...])
        return piece
    }

    /// A line without its end, valid until the next call; nil = its end has not come, or too many bytes came before it.
    private mutating func takeLine() -> UnsafeRawBufferPointer? {
        if hasGivenLine { line.removeAll() }
        hasGivenLine = false
        guard headBytes <= Self.largestHead, !unread.isEmpty else { return nil }
        let rest = unread
        let length = rest.firstIndex(of: UInt8(ascii: "\n"))
        let taken = length.map { $0 + 1 } ?? rest.count
        unread = UnsafeRawBufferPointer(rebasing: rest[taken...])
        headBytes += taken
        var whole = UnsafeRawBufferPointer(rebasing: rest[..<(length ?? rest.count)])
        guard length != nil, line.isEmpty else {
            line.append(whole)
            hasGivenLine = length != nil
            guard hasGivenLine else { return nil }
            whole = line.bytes
            return Self.withoutReturn(whole)
        }
        return Self.withoutReturn(whole)
    }

    private static func withoutReturn(_ line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        line.last == UInt8(ascii: "\r") ? UnsafeRawBufferPointer(rebasing: line.dropLast()) : line
    }

    /// `HTTP/1.1 200 OK`: the status, and whether connections are kept unless something else is said.
    private static func statusLine(_ line: UnsafeRawBufferPointer) -> (status: Int, isNew: Bool)? {
        guard line.count >= 12, line.starts(with: "HTTP/1.".utf8), line[8] == UInt8(ascii: " ") else { return nil }
        guard line.count == 12 || line[12] == UInt8(ascii: " ") else { return nil }
        guard line[7] == UInt8(ascii: "0") || line[7] == UInt8(ascii: "1") else { return nil }
        guard let status = number(line[9..<12], radix: 10), status >= 100 else { return nil }
        return (status, line[7] == UInt8(ascii: "1"))
    }

    /// Hexadecimal, perhaps with extensions after a semicolon.
    private static func chunkSize(_ line: UnsafeRawBufferPointer) -> Int? {
        number(line.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }, radix: 16)
    }

    fileprivate static func number(_ digits: Slice<UnsafeRawBufferPointer>, radix: Int) -> Int? {
        guard (1...15).contains(digits.count) else { return nil }
        var value = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value * radix + Int(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f") where radix == 16: value = value * 16 + Int(digit - UInt8(ascii: "a")) + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F") where radix == 16: value = value * 16 + Int(digit - UInt8(ascii: "A")) + 10
            default: return nil
            }
        }
        return value
    }
}

/// How long a body is, by its headers (RFC 9112 §6).
private struct Framing {
    var length: Int?
    var isChunked = false
    var isKept = false

    /// Takes note of a header line; false = it is none, or says what we cannot follow.
    mutating func read(_ line: UnsafeRawBufferPointer) -> Bool {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > 0, !Self.isSpace(line[0]) else { return false }
        let value = line[(colon + 1)...].drop(while: Self.isSpace)
        let text = value[..<((value.lastIndex { !Self.isSpace($0) }).map { $0 + 1 } ?? value.startIndex)]
        switch colon {
        case 14 where Self.isEqual(line[..<colon], "content-length"):
            guard let given = HTTPResponseReader.number(text, radix: 10), length == nil || length == given else { return false }
            length = given
        case 17 where Self.isEqual(line[..<colon], "transfer-encoding"):
            guard Self.isEqual(text, "chunked"), !isChunked else { return false }
            isChunked = true
        case 10 where Self.isEqual(line[..<colon], "connection"):
            for token in text.split(separator: UInt8(ascii: ",")) {
                let token = token.drop(while: Self.isSpace).prefix { !Self.isSpace($0) }
                if Self.isEqual(token, "close") { isKept = false }
                if Self.isEqual(token, "keep-alive") { isKept = true }
            }
        default: break
        }
        return true
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

    /// - Parameter lower: letters in lower case and hyphens.
    private static func isEqual(_ bytes: Slice<UnsafeRawBufferPointer>, _ lower: StaticString) -> Bool {
        guard bytes.count == lower.utf8CodeUnitCount else { return false }
        return zip(bytes, UnsafeBufferPointer(start: lower.utf8Start, count: bytes.count)).allSatisfy { $0 | 0x20 == $1 | 0x20 }
    }
}
