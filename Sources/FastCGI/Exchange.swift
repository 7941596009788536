import CFastCGI
import Glibc

/// The client, or nginx for it, closed the connection before the answer was complete.
public struct ClientGone: Error {
    public init() {}
}

/// One request and its answer. It is lent to a handler and cannot outlive its turn.
///
/// Over `FCGX_Request` of libfcgi; see fcgiapp.h and https://fastcgi-archives.github.io/FastCGI_Specification.html.
public struct Exchange: ~Copyable {
    let request: UnsafeMutablePointer<FCGX_Request>
    let turn: Turn

    /// The parameters nginx sent: CGI names, and request headers as `HTTP_…`.
    public var parameters: Parameters { Parameters(environment: request.pointee.envp) }

    /// The connection to nginx. After the body was read to its end it becomes readable only when it is closed: the client is gone.
    public var descriptor: Int32 { request.pointee.ipcFd }

    /// Reads up to `limit` bytes and, when there are no more, the end of the body.
    /// - Returns: nil when the body is longer than `limit`; call `discardBody` then.
    public func readBody(limit: Int, expected: Int) -> [UInt8]? {
        var body = [UInt8]()
        var capacity = min(max(expected, 0), limit) + 1
        while true {
            let wanted = capacity - body.count
            let start = body.count
            body.append(contentsOf: repeatElement(0, count: wanted))
            let got = body.withUnsafeMutableBytes { buffer in
                FCGX_GetStr((buffer.baseAddress! + start).assumingMemoryBound(to: CChar.self), Int32(wanted), request.pointee.`in`)
            }
            turn.bodyBytes += Int(got)
            body.removeLast(wanted - Int(got))
            if body.count > limit { return nil }
            if got < wanted { return body }
            capacity = min(max(capacity * 2, 64 << 10), limit + 1)
        }
    }

    /// Reads what is left of the body and forgets it. Without this the rest of a refused body would stand before the connection's next request.
    public func discardBody() {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 8192) { buffer in
            while FCGX_GetStr(buffer.baseAddress, Int32(buffer.count), request.pointee.`in`) == Int32(buffer.count) {}
        }
    }

    /// Before an answer that the rest of the body cannot change: reads and forgets that rest where it is little, so that the connection can be kept.
    /// Where it is a lot it is left, and the connection given up once the answer is out; nginx, which has not sent all of it, expects that.
    /// - Parameter declared: the length of the whole body; nil = not known.
    public func discardOrLeaveBody(declared: Int?) {
        if let declared, declared - turn.bodyBytes > Self.worthReading {
            turn.leavesBody = true
            return
        }
        var left = Self.worthReading
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64 << 10) { buffer in
            while left > 0 {
                let count = Int(FCGX_GetStr(buffer.baseAddress, Int32(buffer.count), request.pointee.`in`))
                if count < buffer.count { return }
                left -= count
            }
            turn.leavesBody = true
        }
    }

    /// The most bytes that are read for nothing.
    private static let worthReading = 16 << 20

    /// The body as it comes, for requests that are not read whole.
    public var bodyReader: BodyReader { BodyReader(request: request, turn: turn) }

    /// The answer's beginning and body are written here.
    public var answer: AnswerWriter { AnswerWriter(request: request) }
}

/// What a connection's thread must know of its request beyond what libfcgi does.
final class Turn {
    /// Read so far.
    var bodyBytes = 0
    /// The rest of the body stands in the connection, which cannot carry another request.
    var leavesBody = false
}

/// Reads one request's body. A view of its exchange, valid during the request's turn.
public struct BodyReader {
    let request: UnsafeMutablePointer<FCGX_Request>
    let turn: Turn

    /// Waits until the buffer is full or the body has ended: then it gives less. After a client that left it also gives less, so the length must be
    /// held against what was announced.
    public func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard let start = buffer.baseAddress, buffer.count > 0 else { return 0 }
        let count = Int(FCGX_GetStr(start.assumingMemoryBound(to: CChar.self), Int32(buffer.count), request.pointee.`in`))
        turn.bodyBytes += count
        return count
    }
}

/// Writes one request's answer. A view of its exchange, valid during the request's turn.
public struct AnswerWriter {
    let request: UnsafeMutablePointer<FCGX_Request>

    /// Appends to the answer (CGI form: header lines, an empty line, the body). Buffered until `flush` or 8 KiB.
    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        if bytes.count >= Self.large { return try writeRecords(bytes) }
        let written = FCGX_PutStr(start.assumingMemoryBound(to: CChar.self), Int32(bytes.count), request.pointee.out)
        if written < 0 { throw ClientGone() }
    }

    public func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

    private static let large = 64 << 10
    /// What a record holds at most, in eights as the specification advises.
    private static let longestRecord = 65_528

    /// Sends large pieces from where they stand. libfcgi would copy them, and send them 8 KiB at a time.
    private func writeRecords(_ bytes: UnsafeRawBufferPointer) throws {
        try flush()
        var rest = bytes
        while !rest.isEmpty {
            let content = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.longestRecord))
            rest = UnsafeRawBufferPointer(rebasing: rest[content.count...])
            guard fastcgi_shim_send_output(request.pointee.ipcFd, request.pointee.requestId, content.baseAddress, content.count) == 0 else {
                throw ClientGone()
            }
        }
    }

    /// Hands what was written to nginx.
    public func flush() throws {
        if FCGX_FFlush(request.pointee.out) != 0 { throw ClientGone() }
    }
}

/// A view of a request's FastCGI parameters. Valid during the request's turn.
public struct Parameters {
    let environment: FCGX_ParamArray?

    /// The value of a parameter such as `REQUEST_METHOD` or `HTTP_AUTHORIZATION`; nil when absent.
    public subscript(name: StaticString) -> String? {
        guard
            let value = name.withUTF8Buffer({
                FCGX_GetParam(UnsafeRawPointer($0.baseAddress!).assumingMemoryBound(to: CChar.self), environment)
            })
        else { return nil }
        return String(cString: value)
    }

    /// The request line and headers as the client sent them, taken from `HTTP_…` and counted as HTTP/1.1 would write them.
    public var requestHead: HeadSize {
        var size = HeadSize()
        size.bytes = (self["REQUEST_METHOD"] ?? "").utf8.count + (self["REQUEST_URI"] ?? "").utf8.count + "  HTTP/1.1\r\n".utf8.count
        guard var entry = environment else { return size }
        while let text = entry.pointee {
            entry += 1
            // nginx hides HTTP_PROXY by an empty value of its own.
            guard strncmp(text, "HTTP_", 5) == 0, strcmp(text, "HTTP_PROXY=") != 0 else { continue }
            // The name's prefix and `=` go, and `: ` comes.
            let line = strlen(text) - 4
            size.headers += 1
            size.largestHeader = max(size.largestHeader, line)
            size.bytes += line + 2
        }
        return size
    }
}

/// How large a request's line and headers are.
public struct HeadSize: Equatable, Sendable {
    public var headers = 0
    /// Of one header, without its line end.
    public var largestHeader = 0
    /// Of the request line and all headers, with their line ends.
    public var bytes = 0
    public init() {}
}
