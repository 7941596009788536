import Threads

/// What bounds one guarded call (02 §9).
public struct OutboundLimits: Sendable {
    public var connect: Duration = .seconds(5)
    /// From the first lookup to the last byte, redirects included.
    public var total: Duration = .seconds(20)
    /// Of the answer, after decompression.
    public var bytes = 10 << 20
    /// Whether a larger answer is cut there; otherwise it is refused.
    public var cutsBody = false
    /// The most plain bytes for each byte that came over the network.
    public var ratio = 100
    /// 0 = a redirect is an answer like any other.
    public var redirects = 3
    /// The most calls of one project at a time, in this process.
    public var concurrent = 50

    public init() {}
}

/// A call to a URL that came from outside.
public struct OutboundRequest: Sendable {
    public var method: HTTPRequest.Method
    public var url: String
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]

    public init(_ method: HTTPRequest.Method, _ url: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
    }
}

/// A whole answer.
public struct OutboundAnswer: Sendable {
    public var head: HTTPHead
    /// Decompressed.
    public var body: [UInt8]
    /// The URL that gave it, after redirects.
    public var url: OutboundURL
    public var status: Int { head.status }
}

/// Calls URLs that tenants gave: each is checked, its host looked up once and the connection pinned to what was found, and each redirect goes the
/// same way again. Every call makes connections of its own.
public final class GuardedHTTPClient: Sendable {
    private let outbound: OutboundGuard
    private let limits: OutboundLimits
    private let authorities: CertificateAuthorities
    private let running = Lock<[String: Int]>([:])

    public init(_ outbound: OutboundGuard, limits: OutboundLimits = OutboundLimits(), authorities: CertificateAuthorities = .system) {
        self.outbound = outbound
        self.limits = limits
        self.authorities = authorities
    }

    /// - Throws: `OutboundRefusal`. A status that is an error is an answer.
    public func send(_ request: OutboundRequest, for project: String) throws -> OutboundAnswer {
        try request.headers.forEach { try OutboundHeaders.check($0.name, $0.value) }
        var hop = Hop(url: try outbound.check(request.url), method: request.method, headers: request.headers, body: request.body)
        guard enter(project) else { throw OutboundRefusal.tooManyAtOnce }
        defer { leave(project) }
        let deadline = ContinuousClock.now + limits.total
        for _ in 0...limits.redirects {
            let answer = try perform(hop, until: deadline)
            guard limits.redirects > 0, let location = answer.redirect else { return answer }
            hop = try hop.following(location, status: answer.status, outbound)
        }
        throw OutboundRefusal.tooManyRedirects
    }

    private func enter(_ project: String) -> Bool {
        running.withLock { running in
            guard running[project, default: 0] < limits.concurrent else { return false }
            running[project, default: 0] += 1
            return true
        }
    }

    private func leave(_ project: String) {
        running.withLock { running in
            let left = running[project, default: 1] - 1
            running[project] = left > 0 ? left : nil
        }
    }

    private func perform(_ hop: Hop, until deadline: ContinuousClock.Instant) throws -> OutboundAnswer {
        let pin = try outbound.vet(hop.url, within: min(limits.connect, deadline - .now))
        var settings = HTTPClientSettings()
        settings.connectTimeout = limits.connect
        settings.maxIdle = 0
        settings.authorities = authorities
        settings.decompresses = true
        settings.maximumBody = limits.cutsBody ? nil : limits.bytes
        let isListed = outbound.isListed(hop.url)
        let outbound = outbound
        settings.isAllowed = { isListed || outbound.permits($0) }
        let transfer = CurlTransfer(hop.request, settings, pin: pin)
        var (head, body): (HTTPHead?, [UInt8]) = (nil, [])
        while true {
            switch transfer.next(until: deadline) {
            case .head(let begun): head = begun
            case .body(let bytes):
                body.append(contentsOf: bytes)
                guard body.count <= limits.ratio * transfer.receivedBytes else {
                    throw OutboundRefusal.answerTooLarge
                }
                if limits.cutsBody, body.count >= limits.bytes, let head {
                    return OutboundAnswer(head: head, body: Array(body.prefix(limits.bytes)), url: hop.url)
                }
            case .finished:
                guard let head else { throw OutboundRefusal.unreachable(.malformed) }
                return OutboundAnswer(head: head, body: body, url: hop.url)
            case .failed(let failure): throw Self.refusal(failure)
            case .timedOut: throw OutboundRefusal.timedOut
            case .extraDescriptorReady: continue
            }
        }
    }

    private static func refusal(_ failure: HTTPFailure) -> OutboundRefusal {
        switch failure.kind {
        case .blocked: .blocked("The host has an address that is not public.")
        case .tooLarge: .answerTooLarge
        case let kind: .unreachable(kind)
        }
    }
}

extension OutboundAnswer {
    /// Where it sends us.
    fileprivate var redirect: String? { [301, 302, 303, 307, 308].contains(status) ? head.value(of: "location") : nil }
}

/// One request on the way through redirects.
private struct Hop {
    var url: OutboundURL
    var method: HTTPRequest.Method
    var headers: [(name: String, value: String)]
    var body: [UInt8]

    var request: HTTPRequest {
        // "Name;" is curl's way to send a header without a value.
        let lines = headers.map { $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)" }
        return HTTPRequest(method, url.description, headers: HTTPHeaders(lines), body: body)
    }

    func following(_ location: String, status: Int, _ outbound: OutboundGuard) throws -> Hop {
        var next = self
        do throws(OutboundRefusal) {
            next.url = try outbound.check(url.redirected(to: location).description)
        } catch {
            guard case .malformedURL = error else { throw error }
            throw OutboundRefusal.blocked("A redirect leads to no URL that we call.")
        }
        if status <= 303 && method == .post {
            // As every client does (RFC 9110 §15.4).
            (next.method, next.body) = (.get, [])
            next.headers.removeAll { $0.name.lowercased() == "content-type" }
        }
        // What opens one origin is not for another.
        if next.url.origin != url.origin { next.headers.removeAll { !OutboundHeaders.followsToAnotherOrigin($0.name) } }
        return next
    }
}
