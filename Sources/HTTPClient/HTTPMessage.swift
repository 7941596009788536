import Glibc

/// A request. Names and values of headers hold no line breaks; who takes them from outside checks that.
public struct HTTPRequest: Sendable {
    public enum Method: String, Sendable {
        case get = "GET", post = "POST", put = "PUT", delete = "DELETE", head = "HEAD"

        var hasBody: Bool { self == .post || self == .put }
    }

    public var method: Method
    public var url: String
    public var headers: HTTPHeaders
    /// One more header line of this request alone, such as its id.
    public var extraHeader: String?
    public var body: [UInt8]

    public init(_ method: Method, _ url: String, headers: HTTPHeaders, extraHeader: String? = nil, body: [UInt8] = []) {
        self.method = method
        self.url = url
        self.headers = headers
        self.extraHeader = extraHeader
        self.body = body
    }
}

/// The first part of an answer.
public struct HTTPHead: Sendable {
    public var status: Int
    /// The header lines as they came, each with its line end.
    var lines: [UInt8]

    /// The value of the first header of that name, in whatever case it came.
    public func value(of name: String) -> String? {
        withValue(of: name) { $0.map { String(decoding: $0, as: UTF8.self) } }
    }

    /// Whether the content type is `json` or `…+json`; parameters do not count.
    public var isJSON: Bool {
        withValue(of: "content-type") { value in
            guard let value else { return false }
            let type = value[..<(value.firstIndex { $0 == UInt8(ascii: ";") || $0 == UInt8(ascii: " ") } ?? value.endIndex)]
            return type.suffix(4).isEqual(to: "json")
        }
    }

    /// Whether the content type is `text/event-stream`.
    public var isEventStream: Bool {
        withValue(of: "content-type") { $0?.prefix(17).isEqual(to: "text/event-stream") ?? false }
    }

    private func withValue<Value>(of name: String, _ read: (Slice<UnsafeRawBufferPointer>?) -> Value) -> Value {
        lines.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty, let end = memchr(bytes.baseAddress! + rest.startIndex, 10, rest.count) {
                let line = rest[..<(bytes.baseAddress!.distance(to: end))]
                rest = rest[(line.endIndex + 1)...]
                let value = line.dropFirst(name.utf8.count)
                guard value.first == UInt8(ascii: ":"), line.prefix(name.utf8.count).isEqual(to: name) else { continue }
                return read(value.dropFirst().trimmingSpaces())
            }
            return read(nil)
        }
    }
}

extension Slice<UnsafeRawBufferPointer> {
    /// Whether these are the letters of `text`, in whatever case.
    fileprivate func isEqual(to text: String) -> Bool { elementsEqual(text.utf8) { $0 | 0x20 == $1 | 0x20 } }

    fileprivate func trimmingSpaces() -> Self {
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 13 }
        let start = drop(while: isSpace)
        guard let last = start.lastIndex(where: { !isSpace($0) }) else { return start[start.endIndex...] }
        return start[...last]
    }
}

/// Why a transfer failed.
public struct HTTPFailure: Error, Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// No connection: nobody listens, no such host, or no answer in time.
        case cannotConnect
        /// The address is not allowed; nothing was sent.
        case blocked
        /// The certificate or the handshake is bad.
        case untrusted
        /// The connection broke before the answer was complete.
        case lost
        /// The answer is not HTTP as we read it.
        case malformed
        /// The body is larger than `maximumBody`.
        case tooLarge
        case other
    }

    public var kind: Kind
    /// For logs; it may name hosts.
    public var message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
}

/// What happened next on a transfer.
public enum HTTPEvent {
    case head(HTTPHead)
    /// Valid until the next call on the transfer.
    case body(UnsafeRawBufferPointer)
    case finished
    case failed(HTTPFailure)
    /// The extra descriptor became readable.
    case extraDescriptorReady
    case timedOut
}
