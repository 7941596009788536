import Billing
import Catalog
import JSON
import Jobs
import OpenAI
import Server

/// Runs requests that are answered as a whole: holds what one costs, gives it its place among the limits, and answers.
public struct PartedInference: Sendable {
    let catalog: any CatalogSource
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

    /// - Parameter read: checks the body; the endpoint is of the mode already.
    func answer<Work: PartedWork>(
        _ request: Request, _ context: Context, mode: TaskMode, _ read: (JSONElement, EndpointRecord) throws -> Work
    ) throws -> Response {
        let createdAt = Settlement.nowMicroseconds()
        let principal = try context.principal
        let (endpoint, work) = try RequestDocument.read(request.body, context.services.parser) { root -> (EndpointRecord, Work) in
            let endpoint = try RequestedEndpoint.find(root, request, principal, in: catalog)
            context.log.endpointSlug = endpoint.slug
            context.log.modelName = endpoint.modelName
            try RequestedEndpoint.check(endpoint, serves: mode)
            return (endpoint, try read(root, endpoint))
        }
        try SLOHints.check(request)
        if let replayed = try context.replay(of: request) { return replayed }
        var run = try start(work, at: endpoint, createdAt: createdAt, context)
        return try run.answer()
    }

    /// Holds what it may cost and takes its place among the limits; then it can run.
    private func start<Work: PartedWork>(
        _ work: Work, at endpoint: EndpointRecord, createdAt: Int64, _ context: Context
    ) throws -> PartedRun<Work> {
        let principal = try context.principal
        // What cannot be booked is not begun.
        guard committer.isAccepting else { throw APIError.unavailable() }
        try monthly.check(endpoint)
        let held = try hold(work, at: endpoint, by: principal, for: context.requestID)
        let limits = LimitRequest(of: endpoint, principal, requestID: context.requestID, tokenEstimate: work.tokenEstimate)
        let readings: LimitReadings
        do {
            readings = try limiter.place(limits)
        } catch {
            held?.giveBack()
            throw error
        }
        return PartedRun(
            work: work, readings: readings,
            settlement: Settlement(
                endpoint: endpoint, principal: principal, requestID: context.requestID, surface: Work.surface, profile: work.profile,
                isStream: false, limits: limits, limiter: limiter, committer: committer, credit: held, start: context.start,
                createdAtMicroseconds: createdAt),
            upstream: upstream(endpoint), context: context)
    }

    /// All of it at once: there is no output that could grow.
    private func hold(
        _ work: some PartedWork, at endpoint: EndpointRecord, by principal: Principal, for requestID: String
    ) throws -> RequestCredit? {
        let quote = CreditQuote(
            promptTokens: work.mostTokens, priceNanoPerMtok: endpoint.tier.priceNanoPerMtok,
            multiplierBasisPoints: work.profile.multiplierBasisPoints)
        let want = quote.cost(output: 0)
        guard want > 0 else { return nil }
        let payer = CreditPayer(
            project: endpoint.projectID, endpoint: endpoint.id, key: principal.keyID, budgetGeneration: principal.budgetGeneration)
        return try credit.take(want: want, least: want, by: payer, for: requestID)
    }
}
