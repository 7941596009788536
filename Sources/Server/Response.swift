import FastCGI
import OpenAI

/// A handler's answer. The server adds the request id and the length.
public struct Response {
    public enum Body {
        case bytes([UInt8])
        /// Writes the answer as it comes. What it throws before the first byte becomes an ordinary error answer.
        case stream((ResponseStream) throws -> Void)
    }

    public var status: Int
    public var headers: [(name: String, value: String)]
    public var body: Body
    /// Of the request that was answered so first, where this is a replay.
    package var requestID: String?

    public init(status: Int = 200, headers: [(name: String, value: String)] = [], body: Body) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// An answer whose body is ready JSON.
    public static func json(_ bytes: [UInt8], status: Int = 200, headers: [(name: String, value: String)] = []) -> Response {
        Response(status: status, headers: [("Content-Type", "application/json")] + headers, body: .bytes(bytes))
    }

    /// Some clients insist on a reason phrase (RFC 9110 §15).
    private static func reason(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 206: "Partial Content"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 402: "Payment Required"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 410: "Gone"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 415: "Unsupported Media Type"
        case 416: "Range Not Satisfiable"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        default: status < 400 ? "OK" : "Error"
        }
    }

    /// The header block of a CGI answer, with its empty line.
    /// - Parameter more: headers after the others.
    package static func head(
        status: Int, headers: [(name: String, value: String)], _ more: [(name: String, value: String)] = []
    ) -> [UInt8] {
        var head: [UInt8] = []
        head.reserveCapacity(1024)
        append("Status: ", to: &head)
        append(String(status), to: &head)
        append(" ", to: &head)
        append(reason(status), to: &head)
        append("\r\n", to: &head)
        for header in headers { append(header, to: &head) }
        for header in more { append(header, to: &head) }
        append("\r\n", to: &head)
        return head
    }

    private static func append(_ header: (name: String, value: String), to head: inout [UInt8]) {
        append(header.name, to: &head)
        append(": ", to: &head)
        var value = header.value
        value.withUTF8 { bytes in
            // A value never opens a second line, whatever it was made of.
            guard bytes.contains(where: { $0 < 0x20 }) else { return head.append(contentsOf: bytes) }
            head.append(contentsOf: bytes.map { max($0, UInt8(ascii: " ")) })
        }
        append("\r\n", to: &head)
    }

    private static func append(_ text: String, to head: inout [UInt8]) {
        var text = text
        text.withUTF8 { head.append(contentsOf: $0) }
    }
}

/// The writing end of a streamed answer; belongs to the thread of its request.
public final class ResponseStream {
    private let answer: AnswerWriter
    private let status: Int
    /// May grow until the first write.
    public var headers: [(name: String, value: String)]
    /// True once the header has gone out: errors must then travel inside the stream.
    public private(set) var hasBegun = false

    init(_ answer: AnswerWriter, status: Int, headers: [(name: String, value: String)]) {
        self.answer = answer
        self.status = status
        self.headers = headers
    }

    /// Writes and hands over to nginx at once. The first call sends the header before.
    /// - Throws: `ClientGone`.
    public func send(_ bytes: UnsafeRawBufferPointer) throws {
        if !hasBegun {
            hasBegun = true
            try answer.write(Response.head(status: status, headers: headers))
        }
        try answer.write(bytes)
        try answer.flush()
    }

    public func send(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try send($0) } }
}
