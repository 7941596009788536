import OpenAI

/// Which pages of other origins may call an endpoint (08 §3). Catalog implements it, out of memory.
public protocol CrossOriginPolicies: Sendable {
    /// The policy of an endpoint as a path names it; nil when there is no such endpoint, or when it cannot be known now.
    func policy(project: String, endpoint: String) -> (any CrossOriginPolicy)?
}

/// What one endpoint allows.
public protocol CrossOriginPolicy: Sendable {
    /// What `Access-Control-Allow-Origin` says to a page of this origin; nil = it is not allowed.
    func allowedOrigin(for origin: String) -> String?
    func allows(method: String) -> Bool
    /// - Parameter names: as `Access-Control-Request-Headers` lists them.
    func allows(headers names: String) -> Bool
    /// As they stand in the headers of a preflight's answer.
    var methodList: String { get }
    var headerList: String { get }
    var maxAge: Int { get }
    var allowCredentials: Bool { get }
}

/// Says to browsers what they may do with an answer.
///
/// Only the endpoint family has policies: no other path is open to pages of other origins. Behind nginx the decision goes out in headers between the
/// two of us, which nginx copies, so that its own errors are treated the same way and no header ever stands twice.
public struct CrossOrigin: Sendable {
    public enum Mode: String, Sendable {
        /// nginx writes the headers; we tell it what they say.
        case proxy
        /// There is no nginx: we write them.
        case own = "self"
    }

    private let policies: any CrossOriginPolicies
    private let mode: Mode

    public init(_ policies: any CrossOriginPolicies, mode: Mode) {
        self.policies = policies
        self.mode = mode
    }

    /// On every answer, whoever asks: what differs by the origin must not be given to another one by a cache.
    var headers: Headers { mode == .own ? [("Vary", "Origin")] : [] }

    typealias Headers = [(name: String, value: String)]

    /// On any answer to a page of this origin; nothing where it is not allowed.
    func headers(for origin: String, at location: Location) -> Headers {
        guard let policy = policy(at: location), let allowed = policy.allowedOrigin(for: origin) else { return headers }
        let prefix = mode == .own ? "Access-Control-" : "X-Cors-"
        var found = headers
        found.append((prefix + (mode == .own ? "Allow-Origin" : "Origin"), allowed))
        if policy.allowCredentials { found.append((prefix + (mode == .own ? "Allow-Credentials" : "Credentials"), "true")) }
        found.append((prefix + (mode == .own ? "Expose-Headers" : "Expose"), Self.exposed))
        return found
    }

    /// The answer to a preflight, which is the gateway's in both modes; `headers` come with it as with every answer.
    func preflight(_ request: Request, from origin: String) throws -> Response {
        let method = request.header("HTTP_ACCESS_CONTROL_REQUEST_METHOD") ?? ""
        let names = request.header("HTTP_ACCESS_CONTROL_REQUEST_HEADERS") ?? ""
        guard let policy = policy(at: request.location), let allowed = policy.allowedOrigin(for: origin),
            method.isEmpty || policy.allows(method: method), policy.allows(headers: names)
        else { throw APIError(.originNotAllowed, "Pages of this origin may not make this request.") }
        let answer: Headers = [
            ("Access-Control-Allow-Origin", allowed), ("Access-Control-Allow-Methods", policy.methodList),
            ("Access-Control-Allow-Headers", policy.headerList), ("Access-Control-Max-Age", String(policy.maxAge)),
            ("Access-Control-Allow-Credentials", String(policy.allowCredentials)),
        ]
        return Response(status: 204, headers: answer, body: .bytes([]))
    }

    private func policy(at location: Location) -> (any CrossOriginPolicy)? {
        guard let project = location.project, let endpoint = location.endpoint else { return nil }
        return policies.policy(project: project, endpoint: endpoint)
    }

    /// Without wildcards, which stand for nothing here but the whole list.
    private static let exposed =
        (["X-Request-ID", "X-Xerotier-Worker-ID", "X-Xerotier-Router-Ms", "Retry-After", "X-Should-Retry", "Idempotent-Replayed"]
        + ["Limit", "Remaining", "Reset"].flatMap { name in ["", "-Requests", "-Tokens"].map { "X-RateLimit-\(name)\($0)" } })
        .joined(separator: ", ")
}
