import Addresses
import Threads

/// Makes HTTP/1.1 requests, each driven by its caller's thread, and keeps connections between them.
///
/// One client serves one origin. How many requests run at once is the caller's business. The process must ignore SIGPIPE.
public final class HTTPClient: Sendable {
    private let settings: HTTPClientSettings
    private let idle = Lock<[IdleConnection]>([])

    /// The connection is in the list or held by one transfer, never both, so only one thread uses it at a time.
    private struct IdleConnection: @unchecked Sendable { let connection: CurlConnection }

    public init(_ settings: HTTPClientSettings = HTTPClientSettings()) { self.settings = settings }

    /// Starts a request. It never fails by itself: a failure is the transfer's first event.
    /// - Parameters:
    ///   - pin: where a new connection may go; nil = curl looks the host up.
    ///   - extraDescriptor: watched while the transfer waits; readable ends the wait.
    public func start(_ request: HTTPRequest, pin: HTTPPin? = nil, extraDescriptor: Int32? = nil) -> HTTPTransfer {
        let kept = takeIdle(for: request.url)
        let origin = kept?.origin ?? Self.origin(of: request.url)
        let path = request.url[request.url.utf8.index(request.url.startIndex, offsetBy: origin.utf8.count)...]
        return HTTPTransfer(
            request, origin: origin, path: path.isEmpty ? "/" : path, on: kept, pin: pin, of: self, extraDescriptor: extraDescriptor)
    }

    private func takeIdle(for url: String) -> CurlConnection? {
        while let idle = idle.withLock({ $0.popLast() })?.connection {
            let isSameOrigin =
                url.utf8.starts(with: idle.origin.utf8) && url.utf8.dropFirst(idle.origin.utf8.count).first == UInt8(ascii: "/")
            if isSameOrigin && idle.isQuiet { return idle }
        }
        return nil
    }

    func connect(to origin: String, pin: HTTPPin?) -> CurlConnection { CurlConnection(to: origin, pin: pin, settings) }

    func takeBack(_ connection: CurlConnection) {
        let kept = IdleConnection(connection: connection)
        idle.withLock { idle in
            if idle.count < settings.maxIdle { idle.append(kept) }
        }
    }

    /// `https://host:1234` of `https://host:1234/path`.
    private static func origin(of url: String) -> String { String(url[..<pathStart(of: url)]) }

    /// `host:1234`
    static func authority(of origin: String) -> Substring {
        let scheme = origin.utf8.firstIndex(of: UInt8(ascii: ":")) ?? origin.startIndex
        return origin[scheme...].drop { $0 == ":" || $0 == "/" }
    }

    private static func pathStart(of url: String) -> String.Index {
        let scheme = url.utf8.firstIndex(of: UInt8(ascii: ":")) ?? url.startIndex
        let authority = url.utf8[scheme...].firstIndex { $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: "/") } ?? url.endIndex
        return url.utf8[authority...].firstIndex { $0 == UInt8(ascii: "/") } ?? url.endIndex
    }
}

public struct HTTPClientSettings: Sendable {
    public var connectTimeout: Duration = .seconds(5)
    /// Connections kept while nobody uses them.
    public var maxIdle = 16
    /// Whom to trust on https.
    public var authorities = CertificateAuthorities.system
    /// The most bytes of an answer that are read at once. Each connection has room for so many.
    public var receiveBuffer = 8 << 10
    /// Asked for each address before a socket to it is opened.
    public var isAllowed: @Sendable (IPAddress) -> Bool = { _ in true }
    /// Of `CurlTransfer` alone: asks for compressed answers, and gives their bodies plain.
    public var decompresses = false
    /// Of `CurlTransfer` alone: the most plain bytes of a body; more is `tooLarge`. nil = the reader decides.
    public var maximumBody: Int?

    public init() {}
}
