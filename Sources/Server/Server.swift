import FastCGI
import Glibc
import Logging
import OpenAI

/// Handles one request after the other on many threads. `handle` is the whole way of a request, top to bottom.
public struct Server: Sendable {
    private let router: Router
    private let authenticator: any Authenticator
    private let services: Services
    private let accessLog: AccessLog
    private let routeMetrics: RouteMetrics
    private let crossOrigin: CrossOrigin?

    /// - Parameter crossOrigin: nil = no page of another origin may call anything.
    public init(
        routes: [Route], authenticator: any Authenticator, services: Services, accessLog: AccessLog, crossOrigin: CrossOrigin? = nil
    ) {
        self.crossOrigin = crossOrigin
        router = Router(routes)
        self.authenticator = authenticator
        self.services = services
        self.accessLog = accessLog
        routeMetrics = RouteMetrics(services.metrics)
    }

    public func handle(_ exchange: borrowing Exchange) {
        let parameters = exchange.parameters
        var request = Request(parameters)
        let context = Context(
            services: services, requestID: Self.requestID(parameters), start: .now, clientDescriptor: exchange.descriptor)
        var pattern = ""
        var status: Int
        let origin = crossOrigin == nil ? nil : parameters["HTTP_ORIGIN"]
        let isPreflight = origin != nil && request.method == "OPTIONS"
        context.crossOriginHeaders = crossOriginHeaders(for: isPreflight ? nil : origin, request)
        if origin != nil, let name = parameters["XEROTIER_ERROR"] {
            _ = answer(FrontErrors.error(named: name), exchange, context)
            return
        }
        do {
            try Self.checkHead(parameters.requestHead)
            if isPreflight, let crossOrigin, let origin {
                pattern = "preflight"
                exchange.discardBody()
                status = try send(try crossOrigin.preflight(request, from: origin), exchange.answer, context)
            } else {
                let (route, pathParameters) = try route(request)
                context.route = route
                pattern = route.path
                request.pathParameters = pathParameters
                try checkDeclaredLength(request, route)
                try authorize(request, route, context)
                if route.streamsBody {
                    context.body = exchange.bodyReader
                } else {
                    request.body = try readBody(exchange, request, route)
                }
                status = try send(try route.handler(request, context), exchange.answer, context)
                // A stream that ended in an error may be asked for again.
                context.claim?.release()
            }
        } catch {
            status = answer(error, exchange, context)
        }
        let elapsed = ContinuousClock.now - context.start
        status = context.log.status ?? status
        routeMetrics.note(pattern, status, elapsed)
        accessLog.write(request, context, route: pattern, status: status, elapsed: elapsed)
    }

    /// nginx makes the id, of 32 hexadecimal digits; the first 24 are ours. Without nginx we make one.
    private static func requestID(_ parameters: Parameters) -> String {
        if let given = parameters["XEROTIER_REQUEST_ID"] {
            var own = HTTPRequest.idPrefix
            own.append(contentsOf: given.prefix(24))
            if given.utf8.count == 32, ID<HTTPRequest>(own) != nil { return own }
            if ID<HTTPRequest>(given) != nil { return given }
        }
        return ID<HTTPRequest>.random().description
    }

    /// 04 §8. nginx holds HTTP/1.1 to the same sizes, but with HTTP/2 it counts compressed bytes.
    private static func checkHead(_ head: HeadSize) throws {
        guard head.headers <= 100, head.largestHeader <= 16 << 10, head.bytes <= 32 << 10 else {
            throw APIError(
                .headersTooLarge, "Request line and headers may have 32 KiB together, one header 16 KiB, and there may be 100 headers.")
        }
    }

    /// Of any answer to a request from a page of this origin; nil = it comes from no page, or asks only what it may do.
    private func crossOriginHeaders(for origin: String?, _ request: Request) -> CrossOrigin.Headers {
        guard let crossOrigin else { return [] }
        return origin.map { crossOrigin.headers(for: $0, at: request.location) } ?? crossOrigin.headers
    }

    private func route(_ request: Request) throws -> (Route, [String: String]) {
        switch router.match(request.method, request.location) {
        case .route(let route, let parameters): return (route, parameters)
        case .wrongMethod(let allowed):
            var error = APIError(.methodNotAllowed, "This path does not support the method \(request.method.prefix(16)).")
            error.headers = [("Allow", allowed.joined(separator: ", "))]
            throw error
        case .none: throw APIError(.notFound, "Unknown path.")
        }
    }

    private func checkDeclaredLength(_ request: Request, _ route: Route) throws {
        guard let length = request.declaredLength, length > route.bodyLimit else { return }
        throw Self.tooLarge(route)
    }

    private static func tooLarge(_ route: Route) -> APIError {
        APIError(route.streamsBody ? .fileTooLarge : .requestTooLarge, "The body is larger than the limit of \(route.bodyLimit) bytes.")
    }

    /// 01 §4: key, expiry, address, project, scope, endpoint pin; the first failure wins.
    private func authorize(_ request: Request, _ route: Route, _ context: Context) throws {
        guard route.access != .open else { return }
        let principal = try authenticator.principal(bearer: try bearer(request))
        context.principalIfAny = principal
        if let filter = principal.restrictions?.ipFilter {
            guard let address = request.clientAddress(behind: services.proxies), filter.admits(address) else {
                throw APIError(.ipNotAllowed, "The API key may not be used from this address.")
            }
        }
        if let segment = request.location.project, segment != principal.projectSlug, segment != principal.projectID.description {
            guard try authenticator.projectID(named: segment) != nil else {
                throw APIError(.projectNotFound, "The project does not exist.")
            }
            throw APIError(.crossProjectAccess, "The API key belongs to another project.")
        }
        if let refusal = route.access.refusal(of: principal.scopes) { throw refusal }
        if let pin = principal.endpointPin, let endpoint = request.location.endpoint, endpoint != pin {
            throw APIError(.endpointMismatch, "The API key is pinned to another endpoint.")
        }
    }

    private func bearer(_ request: Request) throws -> String {
        // What stands in a URL ends up in the logs of every proxy on the way.
        guard !request.query.holdsKey else {
            throw APIError(.authenticationError, "API keys in the URL are refused. Send the key as 'Authorization: Bearer <key>'.")
        }
        guard let header = request.header("HTTP_AUTHORIZATION"), !header.isEmpty else {
            throw APIError(.authenticationError, "No API key was given. Send it as 'Authorization: Bearer <key>'.")
        }
        let parts = header.utf8.split(separator: UInt8(ascii: " "), maxSplits: 1)
        guard parts.count == 2, Substring(parts[0]).lowercased() == "bearer" else {
            throw APIError(.authenticationError, "The Authorization header must be 'Bearer <key>'.")
        }
        return String(Substring(parts[1]))
    }

    /// Reads the body to its end, so that a readable connection means a client that left.
    private func readBody(_ exchange: borrowing Exchange, _ request: Request, _ route: Route) throws -> [UInt8] {
        guard let body = exchange.readBody(limit: route.bodyLimit, expected: request.declaredLength ?? 0) else {
            throw Self.tooLarge(route)
        }
        // nginx sends what it announced; fewer bytes mean that the client or nginx broke off.
        if let declared = request.declaredLength, body.count < declared { throw ClientGone() }
        if route.isBodyOptional, body.isEmpty, request.mediaType == nil { return body }
        if route.method == .post || route.method == .put || route.method == .patch {
            guard request.mediaType == "application/json" else {
                throw APIError(.unsupportedMediaType, "The Content-Type must be application/json.")
            }
        }
        return body
    }

    private func send(_ response: Response, _ answer: AnswerWriter, _ context: Context) throws -> Int {
        let requestID = response.requestID ?? context.requestID
        switch response.body {
        case .bytes(let bytes):
            var own = [(name: "X-Request-ID", value: requestID)]
            // There is no body that could have a length (RFC 9110 §8.6).
            if response.status != 204 { own.append((name: "Content-Length", value: String(bytes.count))) }
            if !context.crossOriginHeaders.isEmpty { own += context.crossOriginHeaders }
            try answer.write(Response.head(status: response.status, headers: response.headers, own))
            try answer.write(bytes)
        case .stream(let write):
            let headers = response.headers + [("X-Request-ID", requestID)] + context.crossOriginHeaders
            let stream = ResponseStream(answer, status: response.status, headers: headers)
            do {
                try write(stream)
            } catch  where stream.hasBegun {
                // The status has gone out; the writer of the stream has already said in it what went wrong.
                note(error, context)
            }
        }
        return response.status
    }

    private func answer(_ error: any Error, _ exchange: borrowing Exchange, _ context: Context) -> Int {
        note(error, context)
        if error is ClientGone {
            context.claim?.release()
            return 499
        }
        // What has failed half-way may be tried again only where the half is known to be undone, or nothing was written.
        let isRepeatable = context.claim != nil || context.route?.isWrite != true
        let response = ErrorRendering.response(
            ErrorRendering.apiError(error), requestID: context.requestID, isRepeatable: isRepeatable)
        // Before the client hears of it: it may try again at once.
        context.claim?.conclude(response)
        do {
            exchange.discardOrLeaveBody(declared: exchange.parameters["CONTENT_LENGTH"].flatMap { Int($0) })
            return try send(response, exchange.answer, context)
        } catch {
            return 499
        }
    }

    private func note(_ error: any Error, _ context: Context) {
        if error is ClientGone {
            context.log.errorCode = context.log.errorCode ?? .clientClosedRequest
            context.log.status = 499
            return
        }
        let apiError = ErrorRendering.apiError(error)
        context.log.errorCode = apiError.code
        services.metrics.count("errors_total", "code=\"\(apiError.code.name)\"")
        if !(error is any APIErrorConvertible) {
            services.logger.error(
                "request failed", metadata: ["request_id": "\(context.requestID)", "error": "\(String(reflecting: type(of: error)))"])
        }
    }
}
