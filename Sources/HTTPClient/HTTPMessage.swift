/// A request. Names and values of headers hold no line breaks; who takes them from outside checks that.
public struct HTTPRequest: Sendable {
    public enum Method: Sendable { case get, post }

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
        var rest = lines[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[..<end]
            rest = rest[(end + 1)...]
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            guard line[..<colon].elementsEqual(name.utf8, by: { $0 | 0x20 == $1 | 0x20 }) else { continue }
            return String(decoding: line[(colon + 1)...].trimmingSpaces(), as: UTF8.self)
        }
        return nil
    }
}

extension ArraySlice<UInt8> {
    fileprivate func trimmingSpaces() -> ArraySlice<UInt8> {
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 13 }
        let start = drop(while: isSpace)
        guard let last = start.lastIndex(where: { !isSpace($0) }) else { return [] }
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
