import Catalog
import OpenAI
import Server

/// What the calls of all runs have in common.
extension Settlement {
    /// When the request must be answered.
    func deadline(in context: Context) -> ContinuousClock.Instant {
        context.start + endpoint.effectiveLimits.requestTimeout * context.services.timeScale
    }

    /// A call of the model server for the request.
    func call(_ path: String, _ body: [UInt8], in context: Context) -> UpstreamRequest {
        UpstreamRequest(
            path: path, body: body, isStream: isStream, requestID: context.requestID, deadline: deadline(in: context),
            queueWait: profile.wait(tier: endpoint.tier.queueWait) * context.services.timeScale,
            // With an Idempotency-Key the run goes on when its client has left: who sends the request again is to get this answer (04 §5).
            clientDescriptor: context.claim == nil ? context.clientDescriptor : nil)
    }
}

extension APIError {
    static let invalidUpstream = APIError(.upstreamInvalidResponse, "The model server gave an invalid answer.")
    static let unansweredInTime = APIError(.gatewayTimeout, "The model did not answer in time.")
}
