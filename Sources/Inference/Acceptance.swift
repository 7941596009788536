import Billing
import Catalog
import JSON
import Jobs
import OpenAI
import Server

/// What every request of inference needs before it runs: the endpoint that it means, a hold for what it may cost, and its place among the limits.
public struct Acceptance: Sendable {
    let catalog: any CatalogSource
    private let limiter: any Limiter
    private let monthly: MonthlyTokens
    private let committer: Committer
    let credit: Credit
    let upstream: @Sendable (EndpointRecord) -> any Upstream

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

    /// A request that may run.
    struct Accepted {
        let settlement: Settlement
        let readings: LimitReadings
        let upstream: any Upstream
    }

    /// The endpoint that the request means, noted in the log; it serves this mode.
    func endpoint(_ root: JSONElement, _ request: Request, _ context: Context, serving mode: TaskMode) throws -> EndpointRecord {
        let endpoint = try RequestedEndpoint.find(root, request, try context.principal, in: catalog)
        context.log.endpointSlug = endpoint.slug
        context.log.modelName = endpoint.modelName
        try RequestedEndpoint.check(endpoint, serves: mode)
        return endpoint
    }

    /// - Parameters:
    ///   - routing: what the choice of a worker depends on; nil where there is none to choose.
    ///   - tokenEstimate: what the token bucket is charged at first.
    ///   - hold: holds what the request may cost; nil where nothing is to be paid.
    func accept(
        _ surface: Surface, at endpoint: EndpointRecord, _ profile: RoutingProfile, isStream: Bool = false, routing: RoutedRequest?,
        tokenEstimate: Int, createdAt: Int64, _ context: Context, holding hold: (CreditPayer) throws -> RequestCredit?
    ) throws -> Accepted {
        let principal = try context.principal
        // What cannot be booked is not begun.
        guard committer.isAccepting else { throw APIError.unavailable() }
        try monthly.check(endpoint)
        let held = try hold(
            CreditPayer(
                project: endpoint.projectID, endpoint: endpoint.id, key: principal.keyID, budgetGeneration: principal.budgetGeneration))
        let limits = LimitRequest(of: endpoint, principal, requestID: context.requestID, tokenEstimate: tokenEstimate)
        let readings: LimitReadings
        do {
            readings = try limiter.place(limits)
        } catch {
            held?.giveBack()
            throw error
        }
        let settlement = Settlement(
            endpoint: endpoint, principal: principal, requestID: context.requestID, surface: surface, profile: profile, isStream: isStream,
            routing: routing, limits: limits, limiter: limiter, committer: committer, credit: held, start: context.start,
            createdAtMicroseconds: createdAt)
        return Accepted(settlement: settlement, readings: readings, upstream: upstream(endpoint))
    }
}
