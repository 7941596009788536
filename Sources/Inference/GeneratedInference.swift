import Billing
import Catalog
import OpenAI
import Server

/// Requests that are answered with generated text, whole or streamed.
extension Acceptance {
    /// Holds what the answers may cost and takes the request's place among the limits; then it can run.
    /// - Parameter wrap: changes who answers.
    func start<Asked: GenerationRequest>(
        _ asked: Asked, _ body: UpstreamBody, at endpoint: EndpointRecord, routing: RoutedRequest?, vendorEvents: Bool, createdAt: Int64,
        _ context: Context,
        through wrap: (any Upstream) -> any Upstream = { $0 }
    ) throws -> GenerationRun<Asked> {
        var body = body
        var held: OutputCredit?
        var routing = routing
        routing?.expect(asked, body)
        let accepted = try accept(
            Asked.surface, at: endpoint, asked.profile, isStream: asked.isStream, routing: routing,
            tokenEstimate: asked.promptEstimate + asked.usualAnswerTokens, createdAt: createdAt, context
        ) { payer in
            held = try OutputCredit.hold(
                asked, mostTokens: body.mostTokens, at: endpoint, by: payer, for: context.requestID, from: credit)
            return held?.taken
        }
        body.close(payable: held?.limit)
        return GenerationRun(
            asked: asked, upstreamBody: body.bytes, clamps: body.clamps,
            identity: AnswerIdentity(
                id: Self.answerID(Asked.idPrefix, context.requestID), created: Int(createdAt / 1_000_000), model: endpoint.modelName,
                serviceTier: asked.profile.name, fingerprint: endpoint.fingerprint),
            readings: accepted.readings, settlement: accepted.settlement, credit: held, upstream: wrap(accepted.upstream),
            vendorEvents: vendorEvents, context: context,
            names: asked.answers == 1 ? routing?.prefix.map { AnswerNames(after: $0, isChat: Asked.surface == .chat) } : nil)
    }

    /// The request's id under another prefix: as unique, and without asking the kernel for random bits.
    private static func answerID(_ prefix: String, _ requestID: String) -> String {
        var id = prefix
        id.append(contentsOf: requestID[requestID.utf8.index(requestID.startIndex, offsetBy: HTTPRequest.idPrefix.utf8.count)...])
        return id
    }
}

extension GenerationRun {
    func response() throws -> Response {
        guard asked.isStream else { return try answer() }
        return Response(headers: streamHeaders, body: .stream { try stream(to: $0) })
    }
}

/// nginx hands frames on at once when it sees `X-Accel-Buffering: no`.
private let streamHeaders = [
    (name: "Content-Type", value: "text/event-stream; charset=utf-8"), (name: "Cache-Control", value: "no-cache, no-transform"),
    (name: "X-Accel-Buffering", value: "no"),
]
