import Billing
import Catalog
import JSON
import OpenAI
import Server

/// Requests that are answered as a whole.
extension Acceptance {
    /// - Parameter read: checks the body; the endpoint is of the mode already.
    func answer<Work: PartedWork>(
        _ request: Request, _ context: Context, mode: TaskMode, _ read: (JSONElement, EndpointRecord) throws -> Work
    ) throws -> Response {
        let createdAt = Settlement.nowMicroseconds()
        let (endpoint, work) = try RequestDocument.read(request.body, context.services.parser) { root -> (EndpointRecord, Work) in
            let endpoint = try self.endpoint(root, request, context, serving: mode)
            return (endpoint, try read(root, endpoint))
        }
        let headers = try RoutingHeaders(request)
        try headers.check(endpoint)
        if let replayed = try context.replay(of: request) { return replayed }
        var routing = endpoint.isServedByAgents ? RoutedRequest(headers) : nil
        routing?.expect(work.profile, promptTokens: work.tokenEstimate, answerTokens: 0)
        let accepted = try accept(
            Work.surface, at: endpoint, work.profile, routing: routing, tokenEstimate: work.tokenEstimate, createdAt: createdAt, context
        ) { payer in
            // All of it at once: there is no output that could grow.
            let quote = CreditQuote(
                promptTokens: work.mostTokens, priceNanoPerMtok: endpoint.tier.priceNanoPerMtok,
                multiplierBasisPoints: work.profile.multiplierBasisPoints)
            let want = quote.cost(output: 0)
            guard want > 0 else { return nil }
            return try credit.take(want: want, least: want, by: payer, for: context.requestID)
        }
        var run = PartedRun(
            work: work, readings: accepted.readings, settlement: accepted.settlement, upstream: accepted.upstream, context: context)
        return try run.answer()
    }
}
