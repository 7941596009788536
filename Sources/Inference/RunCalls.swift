import Catalog
import FastCGI
import JSON
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
            clientDescriptor: context.claim == nil ? context.clientDescriptor : nil,
            routing: routing)
    }

    /// Waits for the answer of a call that is not streamed, and reads it.
    /// - Throws: `ClientGone`, the fault of the model server, or what `read` throws beside `MalformedAnswer`.
    func answer<Answer>(of call: any UpstreamCall, in context: Context, _ read: (JSONElement) throws -> Answer) throws -> Answer {
        let deadline = deadline(in: context)
        var answer: Answer?
        while true {
            switch call.next(until: deadline) {
            case .frame(let body):
                do {
                    answer = try context.services.parser.parse(body, read)
                } catch is MalformedAnswer, is JSONError {
                    throw APIError.invalidUpstream
                }
            case .finished:
                guard let answer else { throw APIError.invalidUpstream }
                return answer
            case .fault(let fault): throw fault
            case .clientGone: throw ClientGone()
            case .silence: throw APIError.unansweredInTime
            }
        }
    }
}

extension APIError {
    static let invalidUpstream = APIError(.upstreamInvalidResponse, "The model server gave an invalid answer.")
    static let unansweredInTime = APIError(.gatewayTimeout, "The model did not answer in time.")
}
