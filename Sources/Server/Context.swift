import FastCGI
import JSON
import Logging
import OpenAI

/// What handlers work with, made once by the executable and passed by hand.
public struct Services: Sendable {
    public var parser: JSONParser
    public var metrics: Metrics
    public var logger: Logger
    /// All waits and lifetimes are multiplied by this; below 1 only in tests.
    public var timeScale: Double
    /// Whose `X-Forwarded-For` is believed.
    public var proxies: TrustedProxies
    /// nil where no request may carry an Idempotency-Key.
    public var idempotency: Idempotency?
    /// Tells long requests when the process stops.
    public let drain = Drain()

    public init(
        parser: JSONParser, metrics: Metrics, logger: Logger, timeScale: Double, proxies: TrustedProxies = TrustedProxies([]),
        idempotency: Idempotency? = nil
    ) {
        self.parser = parser
        self.metrics = metrics
        self.logger = logger
        self.timeScale = timeScale
        self.proxies = proxies
        self.idempotency = idempotency
    }
}

/// One request's surroundings. It belongs to the request's thread.
public final class Context {
    public let services: Services
    /// `req_…`, in every answer, log line and usage row.
    public let requestID: String
    public let start: ContinuousClock.Instant
    /// Readable = the client is gone, once the body has been read.
    public let clientDescriptor: Int32
    /// nil on public routes only.
    public internal(set) var principalIfAny: Principal?
    /// The body, on routes that read it as it comes.
    public internal(set) var body: BodyReader?
    /// What browsers are told beyond the answer's own headers.
    var crossOriginHeaders: CrossOrigin.Headers = []
    /// nil until the request is known to be one of ours.
    var route: Route?
    /// The Idempotency-Key that this request holds, if it came with one.
    public internal(set) var claim: IdempotencyClaim?
    /// What the access log says beyond the request line; handlers fill it in.
    public var log = LogEntry()

    init(services: Services, requestID: String, start: ContinuousClock.Instant, clientDescriptor: Int32) {
        self.services = services
        self.requestID = requestID
        self.start = start
        self.clientDescriptor = clientDescriptor
    }

    /// Who asks. The server lets no request without a key reach a route that has a scope.
    public var principal: Principal {
        get throws {
            guard let principalIfAny else { throw APIError(.authenticationError, "No API key was given.") }
            return principalIfAny
        }
    }
}

extension Context {
    /// Who asks, as the audit log names them. A key acts for the user who made it.
    public func actor(of request: Request) throws -> AuditActor {
        let principal = try principal
        return AuditActor(
            .key, principal.keyID.description, userID: principal.userID,
            address: request.clientAddress(behind: services.proxies)?.description, userAgent: request.header("HTTP_USER_AGENT"),
            requestID: requestID)
    }
}

/// The members of an access log line that handlers know.
public struct LogEntry: Sendable {
    public var endpointSlug: String?
    public var modelName: String?
    public var workerID: String?
    public var errorCode: ErrorCode?
    public var inputTokens: Int?
    public var outputTokens: Int?
    public var costNano: Int64?
    public var timeToFirstByte: Duration?
    /// Logged in place of the answer's status, for clients that did not wait (499).
    public var status: Int?
    public init() {}
}
