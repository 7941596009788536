import Billing
import Catalog
import HTTPClient
import JSON
import Jobs
import OpenAI
import Server

/// `POST chat/completions` (02 §2-3).
public struct ChatRoutes: Sendable {
    let catalog: any CatalogSource
    private let limiter: any Limiter
    private let monthly: MonthlyTokens
    private let committer: Committer
    private let credit: Credit
    let schemas = SchemaCache()
    private let upstream: @Sendable (EndpointRecord) -> any Upstream
    private let images: GuardedHTTPClient
    let cacheSalts: CacheSalts

    /// - Parameters:
    ///   - images: fetches images of requests that stand as URLs.
    ///   - upstream: what answers for an endpoint.
    public init(
        catalog: any CatalogSource, limiter: any Limiter, monthly: MonthlyTokens, committer: Committer, credit: Credit,
        images: GuardedHTTPClient, cacheSalts: CacheSalts, upstream: @escaping @Sendable (EndpointRecord) -> any Upstream
    ) {
        self.catalog = catalog
        self.limiter = limiter
        self.monthly = monthly
        self.committer = committer
        self.credit = credit
        self.upstream = upstream
        self.images = images
        self.cacheSalts = cacheSalts
    }

    public var all: [Route] {
        [
            Route(.post, "chat/completions", .all, .inference, meter: .usage(.chat), bodyLimit: 20 << 20, create),
            // A chat like any other, made here.
            Route(
                .post, "endpoints/:id/test", [.host, .project], .management, meter: .usage(.chat), isBodyOptional: true, testEndpoint),
        ]
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let createdAt = Settlement.nowMicroseconds()
        let principal = try context.principal
        let prepared = try prepare(request, principal, context)
        let chat = prepared.chat
        try SLOHints.check(request)
        if let replayed = try context.replay(of: request) { return replayed }
        let run = try start(
            prepared, vendorEvents: chat.wantsVendorEvents || request.header("HTTP_X_XEROTIER_EVENTS") == "on",
            createdAt: createdAt, context)
        guard chat.isStream else { return try run.answer() }
        return Response(headers: Self.streamHeaders, body: .stream { try run.stream(to: $0) })
    }

    /// Holds what it may cost and takes its place among the limits; then it can run.
    func start(
        _ prepared: PreparedChat, vendorEvents: Bool, createdAt: Int64, _ context: Context
    ) throws -> ChatRun {
        let principal = try context.principal
        let (endpoint, chat) = (prepared.endpoint, prepared.chat)
        var body = prepared.body
        // What cannot be booked is not begun.
        guard committer.isAccepting else { throw APIError.unavailable() }
        try monthly.check(endpoint)
        let held = try ChatCredit.hold(chat, mostTokens: body.mostTokens, at: endpoint, by: principal, for: context.requestID, from: credit)
        body.close(payable: held?.limit)
        let limits = LimitRequest(
            of: endpoint, principal, requestID: context.requestID, tokenEstimate: chat.promptEstimate + min(chat.maxTokens ?? 256, 256))
        let readings: LimitReadings
        do {
            readings = try limiter.place(limits)
        } catch {
            held?.taken.giveBack()
            throw error
        }
        return ChatRun(
            chat: chat, upstreamBody: body.bytes, clamps: body.clamps,
            identity: AnswerIdentity(
                id: Self.completionID(context.requestID), created: Int(createdAt / 1_000_000), model: endpoint.modelName,
                serviceTier: chat.profile.name, fingerprint: endpoint.fingerprint),
            readings: readings,
            settlement: Settlement(
                endpoint: endpoint, principal: principal, requestID: context.requestID, surface: .chat, profile: chat.profile,
                isStream: chat.isStream,
                limits: limits, limiter: limiter, committer: committer, credit: held?.taken, start: context.start,
                createdAtMicroseconds: createdAt),
            credit: held, upstream: upstream(prepared, principal),
            vendorEvents: vendorEvents, context: context)
    }

    private func upstream(_ prepared: PreparedChat, _ principal: Principal) -> any Upstream {
        let upstream = upstream(prepared.endpoint)
        guard !prepared.images.isEmpty else { return upstream }
        return FetchedImages(prepared.images, with: images, for: principal.projectID.description, to: upstream)
    }

    /// The request's id under another prefix: as unique, and without asking the kernel for random bits.
    private static func completionID(_ requestID: String) -> String {
        var id = ChatCompletion.idPrefix
        id.append(contentsOf: requestID[requestID.utf8.index(requestID.startIndex, offsetBy: HTTPRequest.idPrefix.utf8.count)...])
        return id
    }

    /// nginx hands frames on at once when it sees `X-Accel-Buffering: no`.
    private static let streamHeaders = [
        (name: "Content-Type", value: "text/event-stream; charset=utf-8"), (name: "Cache-Control", value: "no-cache, no-transform"),
        (name: "X-Accel-Buffering", value: "no"),
    ]
}
