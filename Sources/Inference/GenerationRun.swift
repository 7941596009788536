import Billing
import FastCGI
import JSON
import OpenAI
import Server

/// One accepted request for generated text, from dispatch to settlement. It belongs to the thread of its request.
struct GenerationRun<Asked: GenerationRequest> {
    let asked: Asked
    let upstreamBody: [UInt8]
    let clamps: [UpstreamBody.Clamp]
    let identity: AnswerIdentity
    let readings: LimitReadings
    let settlement: Settlement
    /// nil where nothing is to be paid.
    let credit: OutputCredit?
    let upstream: any Upstream
    let vendorEvents: Bool
    let context: Context
    /// nil where nobody keeps names of what was said.
    let names: AnswerNames?

    /// A silent stream shows that it lives.
    private static var keepAliveInterval: Duration { .seconds(15) }
    /// No stream lasts longer.
    private static var hardStop: Duration { .seconds(4 * 3600) }

    private var timeScale: Double { context.services.timeScale }

    private func dispatch() -> any UpstreamCall {
        names?.begin()
        return upstream.send(settlement.call(Asked.path, upstreamBody, in: context))
    }

    private func noteNames(_ call: any UpstreamCall) {
        if let seen = names?.names { call.hasSeen(seen) }
    }

    // MARK: Whole answers

    /// - Parameter shape: gives the answer the form in which the client gets it.
    func answer(_ shape: (Response) -> Response = { $0 }) throws -> Response {
        var call = dispatch()
        do {
            let answer = try receiveValidAnswer(&call)
            noteNames(call)
            let headers = headers(call)
            var response: Response?
            try settle(Outcome(finishReason: answer.finishReason, usage: answer.usage), .now - context.start, call) { event in
                let whole = shape(Response.json(body(answer, event, call), headers: headers))
                response = whole
                return whole
            }
            guard let response else { throw SettlementFailed() }
            return response
        } catch let error as SettlementFailed {
            throw shown(error, call)
        } catch {
            call.cancel()
            try settleFailure(error, usage: nil, isBegun: false, nil, call)
            throw shown(error, call)
        }
    }

    private func body(_ answer: Asked.Answer, _ event: UsageEvent, _ call: any UpstreamCall) -> [UInt8] {
        var json = JSONWriter(capacity: answer.bytes.count + 1024)
        json.raw(answer.bytes)
        if vendorEvents {
            json.raw(#","x_metadata":{"#)
            metadata(event, answer.usage, finishReason: answer.finishReason, call).write(to: &json)
            json.raw("}" as StaticString)
        }
        json.raw("}" as StaticString)
        return json.bytes
    }

    /// What is not as demanded is asked for once more (02 §6).
    private func receiveValidAnswer(_ call: inout any UpstreamCall) throws -> Asked.Answer {
        do {
            return try receiveAnswer(call)
        } catch let error as InvalidAnswer where !error.isCut {
            call.cancel()
            call = dispatch()
            return try receiveAnswer(call)
        }
    }

    private func receiveAnswer(_ call: any UpstreamCall) throws -> Asked.Answer {
        try settlement.answer(of: call, in: context) { root in
            names?.take(root)
            return try asked.answer(rewriting: root, as: identity)
        }
    }

    // MARK: Streams

    func stream(to stream: ResponseStream) throws {
        let client = StreamClient(stream, isReplayable: context.claim != nil)
        var call = dispatch()
        var grammar = asked.grammar(identity, vendorEvents: vendorEvents)
        var firstToken: Duration?
        let end: [UInt8]
        do {
            do {
                try relay(call, to: client, &grammar, &firstToken)
            } catch let error as InvalidAnswer where !error.isCut && !client.hasBegun {
                call.cancel()
                call = dispatch()
                grammar = asked.grammar(identity, vendorEvents: vendorEvents)
                try relay(call, to: client, &grammar, &firstToken)
            }
            end = try settledEnd(&grammar, client, firstToken, call)
        } catch let error as SettlementFailed {
            try fail(client, error, call)
        } catch {
            call.cancel()
            do {
                try settleFailure(error, usage: firstToken == nil ? nil : grammar.usage, isBegun: client.hasBegun, firstToken, call)
            } catch let failure where !(error is ClientGone) {
                // Whatever could not be booked, a stream that has begun still ends with an error frame.
                try fail(client, failure, call)
            }
            try fail(client, error, call)
        }
        try client.end(end)
    }

    /// Settles, and gives the last frames: usage, metadata, `[DONE]`.
    private func settledEnd(
        _ grammar: inout Asked.Grammar, _ client: StreamClient, _ firstToken: Duration?, _ call: any UpstreamCall
    ) throws -> [UInt8] {
        let usage = grammar.usage
        var end: [UInt8] = []
        try settle(Outcome(finishReason: grammar.finishReason, usage: usage), firstToken, call) { event in
            end = self.end(&grammar, event, usage, call)
            return client.whole(endingWith: end)
        }
        return end
    }

    private func end(
        _ grammar: inout Asked.Grammar, _ event: UsageEvent, _ usage: TokenUsage, _ call: any UpstreamCall
    ) -> [UInt8] {
        var end = grammar.usageChunk()
        if vendorEvents {
            end += grammar.metadataEvent(metadata(event, usage, finishReason: grammar.finishReason, call))
        }
        return end + StreamFrames.done
    }

    /// Passes chunks on until every choice has ended and the engine is done.
    private func relay(
        _ call: any UpstreamCall, to client: StreamClient, _ grammar: inout Asked.Grammar, _ firstToken: inout Duration?
    ) throws {
        let idle = settlement.endpoint.tier.idleStreamTimeout * timeScale
        let keepAlive = Self.keepAliveInterval * timeScale
        let last = context.start + Self.hardStop * timeScale
        var idleEnd: ContinuousClock.Instant?
        var nextComment = ContinuousClock.now + keepAlive
        while true {
            if context.services.drain.isOver { throw Self.interrupted }
            switch call.next(until: min(nextComment, idleEnd ?? nextComment, last)) {
            case .frame(let chunk):
                var frames: [UInt8]
                do {
                    frames = try receive(chunk, &grammar)
                } catch is MalformedAnswer, is JSONError {
                    throw APIError.invalidUpstream
                }
                let isUsedUp = credit?.isUsedUp ?? false
                if isUsedUp {
                    call.cancel()
                    frames = try grammar.cut()
                }
                let now = ContinuousClock.now
                idleEnd = now + idle
                guard !frames.isEmpty else { continue }
                if firstToken == nil {
                    firstToken = now - context.start
                    client.headers += headers(call)
                }
                try client.send(frames)
                if isUsedUp { return }
                nextComment = now + keepAlive
            case .finished:
                guard grammar.isComplete else { throw Self.interrupted }
                noteNames(call)
                return
            case .fault(let fault): throw fault
            case .clientGone: throw ClientGone()
            case .silence:
                let now = ContinuousClock.now
                if now >= last { throw Self.interrupted }
                if let idleEnd, now >= idleEnd {
                    throw APIError(.streamIdleTimeout, "The model produced nothing for too long.")
                }
                if now >= nextComment {
                    if !client.hasBegun { client.headers += headers(call) }
                    try client.keepAlive()
                    nextComment = now + keepAlive
                }
            }
        }
    }

    /// The frames of a chunk, once they are paid for. When nobody pays for them, the credit is used up and nothing of the chunk has happened.
    private func receive(_ chunk: UnsafeRawBufferPointer, _ grammar: inout Asked.Grammar) throws -> [UInt8] {
        // No chunk has more tokens than bytes.
        guard let credit, !credit.covers(grammar.tally.producedTokens + chunk.count) else {
            return try context.services.parser.parse(chunk) { root in
                names?.take(root)
                return try grammar.receive(root)
            }
        }
        var next = grammar
        let frames = try context.services.parser.parse(chunk) { root in
            names?.take(root)
            return try next.receive(root)
        }
        // The engine's own count may come after the last token.
        guard next.tally.passedTokens == grammar.tally.passedTokens || credit.cover(next.tally.producedTokens) else { return [] }
        grammar = next
        return frames
    }

    /// Before the first byte a failure is an ordinary error answer; after it, an error frame, and never `[DONE]`.
    private func fail(_ client: StreamClient, _ error: any Error, _ call: any UpstreamCall) throws -> Never {
        if error is ClientGone { throw error }
        guard client.hasBegun else { throw shown(Self.beforeStream(error), call) }
        let frame = Array("data: ".utf8) + ErrorRendering.envelope(Self.inStream(error), requestID: context.requestID) + Array("\n\n".utf8)
        // Before the client hears of it: it may try again at once.
        context.claim?.release()
        try client.end(frame)
        throw Self.inStream(error)
    }

    /// A stream that broke before anything of it was sent is an answer of the upstream that cannot be used.
    private static func beforeStream(_ error: any Error) -> APIError {
        let error = ErrorRendering.apiError(error)
        return error.code.number >= 60_000 ? .invalidUpstream : error
    }

    /// Only stream codes travel inside streams.
    private static func inStream(_ error: any Error) -> APIError {
        let error = ErrorRendering.apiError(error)
        return error.code.number >= 60_000 ? error : APIError(.streamError, error.message)
    }

    // MARK: Settlement

    /// Books the run, together with the answer of a request that has an Idempotency-Key.
    private func settle(
        _ outcome: Outcome, _ firstToken: Duration?, _ call: any UpstreamCall, answering: (UsageEvent) -> Response? = { _ in nil }
    ) throws {
        try settlement.settle(outcome, timeToFirstToken: firstToken, call: call, in: context, answering: answering)
    }

    private func settleFailure(
        _ error: any Error, usage: TokenUsage?, isBegun: Bool, _ firstToken: Duration?, _ call: any UpstreamCall
    ) throws {
        var outcome = Outcome(usage: usage)
        if error is ClientGone {
            outcome.status = ErrorCode.clientClosedRequest.status
            outcome.error = .clientClosedRequest
        } else {
            outcome.error = isBegun ? Self.inStream(error).code : Self.beforeStream(error).code
            outcome.status = isBegun ? 200 : outcome.error?.status ?? 500
        }
        try settle(outcome, firstToken, call)
    }

    // MARK: Words and headers

    private func headers(_ call: any UpstreamCall) -> [(name: String, value: String)] {
        var headers = InferenceHeaders.routing(settlement.endpoint, call)
        headers.reserveCapacity(16)
        headers += InferenceHeaders.limits(readings)
        headers += InferenceHeaders.clamps(clamps)
        return headers
    }

    /// The error with the headers of inference, for answers that are errors as a whole.
    private func shown(_ error: any Error, _ call: any UpstreamCall) -> any Error {
        if error is ClientGone { return error }
        var apiError = ErrorRendering.apiError(error)
        apiError.headers += headers(call)
        return apiError
    }

    private func metadata(
        _ event: UsageEvent, _ usage: TokenUsage, finishReason: String?, _ call: any UpstreamCall
    ) -> VendorMetadata {
        VendorMetadata(
            settlement: settlement, call: call, event: event, clamps: clamps, isUsageEstimated: usage.isEstimated,
            stopDetail: credit?.stopDetail(finishReason: finishReason))
    }

    private static var interrupted: APIError { APIError(.streamInterrupted, "The model's answer broke off.") }
}

extension Duration {
    static func * (duration: Duration, scale: Double) -> Duration {
        scale == 1 ? duration : .nanoseconds(Int64(Double(duration.microseconds) * scale * 1000))
    }
}
