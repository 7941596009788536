import Billing
import FastCGI
import JSON
import OpenAI
import Server

/// One accepted request, from its first call of the model server to its settlement.
struct PartedRun<Work: PartedWork> {
    var work: Work
    let readings: LimitReadings
    let settlement: Settlement
    let upstream: any Upstream
    let context: Context

    mutating func answer() throws -> Response {
        var call = dispatch(0)
        do {
            for part in 0..<work.parts {
                if part > 0 { call = dispatch(part) }
                try complete(&call, of: part)
            }
            return try settled(call)
        } catch let error as SettlementFailed {
            throw shown(error, call)
        } catch {
            call.cancel()
            try settleFailure(error, call)
            throw shown(error, call)
        }
    }

    private func dispatch(_ part: Int) -> any UpstreamCall {
        upstream.send(settlement.call(Work.path, work.body(of: part, for: settlement.endpoint), in: context))
    }

    private mutating func receive(_ call: any UpstreamCall, of part: Int) throws {
        try settlement.answer(of: call, in: context) { try work.add($0, of: part) }
    }

    /// A call that the model server finds too long is made again where it can be shorter.
    private mutating func complete(_ call: inout any UpstreamCall, of part: Int) throws {
        do {
            try receive(call, of: part)
        } catch var fault as UpstreamFault where fault.apiError.code == .contextLengthExceeded {
            guard work.shorten(part) else {
                // The model server knows our call; the client knows its own members.
                fault.apiError.param = work.longest(part)
                throw fault
            }
            call = dispatch(part)
            try complete(&call, of: part)
        }
    }

    /// Books the run, together with the answer of a request that has an Idempotency-Key.
    private func settled(_ call: any UpstreamCall) throws -> Response {
        var usage = TokenUsage(estimatedInput: work.tokenEstimate, outputBytes: 0, reasoningBytes: 0)
        if let counted = work.promptTokens {
            usage.input = counted
            usage.isEstimated = false
        }
        let identity = PartedIdentity(
            requestID: context.requestID, created: Int(settlement.createdAtMicroseconds / 1_000_000), model: settlement.endpoint.modelName,
            promptTokens: usage.input)
        let response = Response.json(work.body(identity), headers: headers(call))
        try settle(Outcome(usage: usage), call, storing: response)
        return response
    }

    private func settleFailure(_ error: any Error, _ call: any UpstreamCall) throws {
        var outcome = Outcome()
        outcome.error = error is ClientGone ? .clientClosedRequest : ErrorRendering.apiError(error).code
        outcome.status = outcome.error?.status ?? 500
        try settle(outcome, call, storing: nil)
    }

    private func settle(_ outcome: Outcome, _ call: any UpstreamCall, storing response: Response?) throws {
        try settlement.settle(outcome, timeToFirstToken: nil, call: call, in: context) { _ in response }
    }

    private func headers(_ call: any UpstreamCall) -> [(name: String, value: String)] {
        InferenceHeaders.routing(settlement.endpoint, call) + InferenceHeaders.limits(readings)
    }

    private func shown(_ error: any Error, _ call: any UpstreamCall) -> any Error {
        if error is ClientGone { return error }
        var apiError = ErrorRendering.apiError(error)
        apiError.headers += headers(call)
        return apiError
    }
}
