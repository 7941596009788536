import CCurl
import Threads

/// Makes HTTP/1.1 requests over libcurl (https://curl.se/libcurl/c/), each driven by its caller's thread, and keeps connections between them.
///
/// One client serves one origin: each kept handle holds one connection. How many run at once is the caller's business.
/// The process must ignore SIGPIPE.
public final class HTTPClient: Sendable {
    private let settings: HTTPClientSettings
    private let idle = Lock<[IdleHandle]>([])

    /// The handle is in the list or held by one transfer, never both, so only one thread uses it at a time.
    private struct IdleHandle: @unchecked Sendable { let handle: CurlHandle }

    public init(_ settings: HTTPClientSettings = HTTPClientSettings()) { self.settings = settings }

    /// Starts a request. It never fails by itself: a failure is the transfer's first event.
    /// - Parameters:
    ///   - pin: where a new connection may go; nil = curl looks the host up.
    ///   - extraDescriptor: watched while the transfer waits; readable ends the wait.
    public func start(_ request: HTTPRequest, pin: HTTPPin? = nil, extraDescriptor: Int32? = nil) -> HTTPTransfer {
        let handle = idle.withLock { $0.popLast() }?.handle ?? CurlHandle(settings)
        handle.begin(request, pin: pin)
        return HTTPTransfer(handle, of: self, extraDescriptor: extraDescriptor)
    }

    func takeBack(_ handle: CurlHandle) {
        handle.end()
        let kept = IdleHandle(handle: handle)
        idle.withLock { idle in
            if idle.count < settings.maxIdle { idle.append(kept) }
        }
    }
}

public struct HTTPClientSettings: Sendable {
    public var connectTimeout: Duration = .seconds(5)
    /// Connections kept while nobody uses them.
    public var maxIdle = 16
    /// Whom to trust on https.
    public var authorities = CertificateAuthorities.system
    /// Asked for each address before a socket to it is opened.
    public var isAllowed: @Sendable (IPAddress) -> Bool = { _ in true }
    /// Asks for compressed answers, and gives their bodies plain.
    public var decompresses = false
    /// The most plain bytes of a body; more is `tooLarge`. nil = the reader decides.
    public var maximumBody: Int?

    public init() {}
}
