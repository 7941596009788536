import Billing
import Catalog
import JSON
import Jobs
import OpenAI
import Server

/// `POST chat/completions` (02 §2-3).
public struct ChatRoutes: Sendable {
    private let catalog: any CatalogSource
    private let limiter: any Limiter
    private let committer: Committer
    private let credit: Credit
    private let upstream: @Sendable (EndpointRecord) -> any Upstream

    /// - Parameter upstream: what answers for an endpoint.
    public init(
        catalog: any CatalogSource, limiter: any Limiter, committer: Committer, credit: Credit,
        upstream: @escaping @Sendable (EndpointRecord) -> any Upstream
    ) {
        self.catalog = catalog
        self.limiter = limiter
        self.committer = committer
        self.credit = credit
        self.upstream = upstream
    }

    public var all: [Route] {
        [Route(.post, "chat/completions", .all, .inference, meter: .usage(.chat), bodyLimit: 20 << 20, create)]
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let createdAt = Settlement.nowMicroseconds()
        let principal = try context.principal
        var (endpoint, chat, body) = try RequestDocument.read(request.body, context.services.parser) {
            root -> (EndpointRecord, ChatRequest, UpstreamBody) in
            let endpoint = try self.endpoint(root, request, principal)
            context.log.endpointSlug = endpoint.slug
            context.log.modelName = endpoint.modelName
            guard endpoint.taskMode == .generate else {
                throw APIError(.taskModeMismatch, "The endpoint does not generate text.", param: "model")
            }
            let chat = try ChatRequest(checking: root, defaults: endpoint.defaults)
            return (endpoint, chat, try UpstreamBody(of: root, chat, for: endpoint))
        }
        try SLOHints.check(request)
        // What cannot be booked is not begun.
        guard committer.isAccepting else { throw APIError.unavailable() }
        let held = try ChatCredit.hold(chat, mostTokens: body.mostTokens, at: endpoint, by: principal, for: context.requestID, from: credit)
        body.close(payable: held?.limit)
        let limits = limitRequest(endpoint, chat, principal, context)
        let readings: LimitReadings
        do {
            readings = try admit(limits)
        } catch {
            held?.taken.giveBack()
            throw error
        }
        let run = ChatRun(
            chat: chat, upstreamBody: body.bytes, clamps: body.clamps,
            identity: AnswerIdentity(
                id: Self.completionID(context.requestID), created: Int(createdAt / 1_000_000), model: endpoint.modelName,
                serviceTier: chat.profile.name, fingerprint: endpoint.fingerprint),
            readings: readings,
            settlement: Settlement(
                endpoint: endpoint, principal: principal, requestID: context.requestID, profile: chat.profile, isStream: chat.isStream,
                limits: limits, limiter: limiter, committer: committer, credit: held?.taken, start: context.start,
                createdAtMicroseconds: createdAt),
            credit: held, upstream: upstream(endpoint),
            vendorEvents: chat.wantsVendorEvents || request.header("HTTP_X_XEROTIER_EVENTS") == "on",
            context: context)
        guard chat.isStream else { return try run.answer() }
        return Response(headers: Self.streamHeaders, body: .stream { try run.stream(to: $0) })
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

    /// By the path in the endpoint family, else by the body's `model` (01 §3).
    private func endpoint(_ root: JSONElement, _ request: Request, _ principal: Principal) throws -> EndpointRecord {
        guard let member = root["model"], !member.isNull else { throw APIError.missing("model") }
        let model = try Fields.string(member, "model")
        guard !model.isEmpty else { throw APIError.invalid("model", "'model' must not be empty.") }
        let catalog = try self.catalog.catalog(of: principal.projectID)
        let endpoint =
            if let slug = request.location.endpoint {
                try EndpointResolver.resolve(slug: slug, in: catalog)
            } else {
                try EndpointResolver.resolve(model: model, in: catalog)
            }
        if let pin = principal.endpointPin, pin != endpoint.slug {
            throw APIError(.endpointMismatch, "The API key is pinned to another endpoint.")
        }
        guard endpoint.status == .active || endpoint.status == .degraded else {
            throw APIError(.endpointInactive, "The endpoint is not active.", retryAfter: 5)
        }
        return endpoint
    }

    private func limitRequest(_ endpoint: EndpointRecord, _ chat: ChatRequest, _ principal: Principal, _ context: Context) -> LimitRequest {
        let limits = endpoint.effectiveLimits
        return LimitRequest(
            requestID: context.requestID, endpointID: endpoint.id, keyID: principal.keyID, requestsPerMinute: limits.requestsPerMinute,
            tokensPerMinute: limits.tokensPerMinute, burstFloor: endpoint.tier.burstFloor, concurrent: limits.concurrent,
            tokenEstimate: chat.promptEstimate + min(chat.maxTokens ?? 256, 256), quota: principal.restrictions?.quota)
    }

    private func admit(_ limits: LimitRequest) throws -> LimitReadings {
        switch limiter.admit(limits) {
        case .admitted(let readings): return readings
        case .refused(var error, let readings):
            error.headers += InferenceHeaders.limits(readings)
            throw error
        }
    }
}
