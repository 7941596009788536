import Billing
import Catalog
import FastCGI
import JSON
import Jobs
import OpenAI
import Server

/// `POST embeddings` (02 §14).
public struct EmbeddingRoutes: Sendable {
    private let catalog: any CatalogSource
    private let limiter: any Limiter
    private let monthly: MonthlyTokens
    private let committer: Committer
    private let credit: Credit
    private let upstream: @Sendable (EndpointRecord) -> any Upstream

    /// - Parameter upstream: what answers for an endpoint.
    public init(
        catalog: any CatalogSource, limiter: any Limiter, monthly: MonthlyTokens, committer: Committer, credit: Credit,
        upstream: @escaping @Sendable (EndpointRecord) -> any Upstream
    ) {
        self.catalog = catalog
        self.limiter = limiter
        self.monthly = monthly
        self.committer = committer
        self.credit = credit
        self.upstream = upstream
    }

    public var all: [Route] {
        [Route(.post, "embeddings", .all, .inference, meter: .usage(.embeddings), bodyLimit: 20 << 20, create)]
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let createdAt = Settlement.nowMicroseconds()
        let principal = try context.principal
        let (endpoint, asked) = try RequestDocument.read(request.body, context.services.parser) {
            root -> (EndpointRecord, EmbeddingRequest) in
            let endpoint = try RequestedEndpoint.find(root, request, principal, in: catalog)
            context.log.endpointSlug = endpoint.slug
            context.log.modelName = endpoint.modelName
            try RequestedEndpoint.check(endpoint, serves: .embed)
            return (endpoint, try EmbeddingRequest(checking: root, for: endpoint))
        }
        try SLOHints.check(request)
        if let replayed = try context.replay(of: request) { return replayed }
        return try start(asked, at: endpoint, createdAt: createdAt, context).answer()
    }

    /// Holds what it may cost and takes its place among the limits; then it can run.
    private func start(
        _ asked: EmbeddingRequest, at endpoint: EndpointRecord, createdAt: Int64, _ context: Context
    ) throws -> EmbeddingRun {
        let principal = try context.principal
        // What cannot be booked is not begun.
        guard committer.isAccepting else { throw APIError.unavailable() }
        try monthly.check(endpoint)
        let held = try hold(asked, at: endpoint, by: principal, for: context.requestID)
        let limits = LimitRequest(
            of: endpoint, principal, requestID: context.requestID, tokenEstimate: asked.tokenEstimate)
        let readings: LimitReadings
        do {
            readings = try limiter.place(limits)
        } catch {
            held?.giveBack()
            throw error
        }
        return EmbeddingRun(
            asked: asked, readings: readings,
            settlement: Settlement(
                endpoint: endpoint, principal: principal, requestID: context.requestID, surface: .embeddings, profile: asked.profile,
                isStream: false, limits: limits, limiter: limiter, committer: committer, credit: held, start: context.start,
                createdAtMicroseconds: createdAt),
            upstream: upstream(endpoint), context: context)
    }

    /// All of it at once: there is no output that could grow.
    private func hold(
        _ asked: EmbeddingRequest, at endpoint: EndpointRecord, by principal: Principal, for requestID: String
    ) throws -> RequestCredit? {
        let quote = CreditQuote(
            promptTokens: asked.mostTokens, priceNanoPerMtok: endpoint.tier.priceNanoPerMtok,
            multiplierBasisPoints: asked.profile.multiplierBasisPoints)
        let want = quote.cost(output: 0)
        guard want > 0 else { return nil }
        let payer = CreditPayer(
            project: endpoint.projectID, endpoint: endpoint.id, key: principal.keyID, budgetGeneration: principal.budgetGeneration)
        return try credit.take(want: want, least: want, by: payer, for: requestID)
    }
}
