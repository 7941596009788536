import Billing
import Catalog
import Foundation
import Jobs
import OpenAI
import Server

/// How an accepted request ended.
struct Outcome {
    /// What the client saw, or 499 when it did not wait.
    var status = 200
    var error: ErrorCode?
    var finishReason: String?
    /// nil when the engine produced nothing.
    var usage: TokenUsage?
}

/// Books an accepted request, exactly once: its usage row with what it owes, its tokens and its concurrency slot.
struct Settlement {
    let endpoint: EndpointRecord
    let principal: Principal
    let requestID: String
    let surface: Surface
    let profile: RoutingProfile
    let isStream: Bool
    /// What the choice of a worker depends on; nil where there is none to choose.
    let routing: RoutedRequest?
    let limits: LimitRequest
    let limiter: any Limiter
    let committer: Committer
    /// nil where nothing is to be paid.
    let credit: RequestCredit?
    let start: ContinuousClock.Instant
    /// Unix time at `start`, in microseconds.
    let createdAtMicroseconds: Int64

    /// Returns when the usage row is durable.
    /// - Parameter answered: what else becomes durable with it.
    /// - Throws: when it could not be made durable; the answer must then not look complete.
    func settle(
        _ outcome: Outcome, timeToFirstToken: Duration?, call: any UpstreamCall, answered: (UsageEvent) -> CommitRow?
    ) throws -> UsageEvent {
        // Redis and Postgres work side by side; both are done before the last byte.
        let waitForLimits = limiter.beginFinish(limits, actualTokens: outcome.usage?.rateTokens ?? 0)
        defer { waitForLimits() }
        let event = event(outcome, timeToFirstToken: timeToFirstToken, call: call)
        do {
            let row = event.commitRow(hold: credit?.hold, held: credit?.held ?? 0)
            try committer.commit(Commit(rows: [row] + (answered(event).map { [$0] } ?? [])))
        } catch {
            credit?.lose()
            throw error
        }
        credit?.settled(cost: event.costNano)
        return event
    }

    /// Settles, notes in the log what happened, and completes the request's Idempotency-Key with its answer.
    /// - Throws: `SettlementFailed`.
    func settle(
        _ outcome: Outcome, timeToFirstToken: Duration?, call: any UpstreamCall, in context: Context,
        answering: (UsageEvent) -> Response?
    ) throws {
        context.log.workerID = call.workerID
        context.log.timeToFirstByte = timeToFirstToken
        context.log.inputTokens = outcome.usage?.input
        context.log.outputTokens = outcome.usage?.output
        context.log.errorCode = outcome.error
        do {
            var isStored = false
            let event = try settle(outcome, timeToFirstToken: timeToFirstToken, call: call) { event in
                let row = answering(event).flatMap { context.claim?.commitRow($0) }
                isStored = row != nil
                return row
            }
            context.log.costNano = event.costNano
            if isStored { context.claim?.completed() }
        } catch {
            context.services.logger.error("settlement failed", metadata: ["request_id": "\(context.requestID)", "error": "\(error)"])
            throw SettlementFailed()
        }
    }

    private func event(_ outcome: Outcome, timeToFirstToken: Duration?, call: any UpstreamCall) -> UsageEvent {
        var event = UsageEvent(
            id: requestID, projectID: principal.projectID, requestID: requestID, surface: surface, tier: endpoint.tier.slug,
            isStream: isStream,
            priceNanoPerMtok: endpoint.tier.priceNanoPerMtok, createdAtMicroseconds: createdAtMicroseconds)
        event.endpointID = endpoint.id
        event.endpointSlug = endpoint.slug
        event.modelID = endpoint.modelID
        event.modelName = endpoint.modelName
        event.modelVersion = endpoint.modelVersion
        event.keyID = principal.keyID
        event.userID = principal.userID
        event.serviceTier = profile.name
        event.multiplierBasisPoints = profile.multiplierBasisPoints
        event.workerID = call.workerID
        event.statusCode = outcome.status
        event.errorCode = outcome.error?.name
        event.fault = outcome.error?.fault ?? .none
        event.finishReason = outcome.finishReason
        event.isCutByClient = outcome.status == ErrorCode.clientClosedRequest.status
        event.timeToFirstTokenMilliseconds = timeToFirstToken.map { $0.microseconds / 1000 }
        event.latencyMilliseconds = (ContinuousClock.now - start).microseconds / 1000
        event.queueMilliseconds = call.queueTime.microseconds / 1000
        event.routerMicroseconds = call.decisionTime.microseconds
        event.retries = max(0, call.attempts - 1)
        if let usage = outcome.usage {
            event.inputTokens = usage.input
            event.cachedTokens = usage.cached
            event.outputTokens = usage.output
            event.reasoningTokens = usage.reasoning
            event.costNano = cost(usage, outcome)
        }
        return event
    }

    /// When the fault is not the client's, only what was produced is charged (04 §4).
    private func cost(_ usage: TokenUsage, _ outcome: Outcome) -> Int64 {
        let isOurFault = outcome.error.map { $0.fault == .agent || $0.fault == .router } ?? false
        return Pricing.cost(
            input: isOurFault ? 0 : usage.input, cached: isOurFault ? 0 : usage.cached, output: usage.output,
            priceNanoPerMtok: endpoint.tier.priceNanoPerMtok, multiplierBasisPoints: profile.multiplierBasisPoints)
    }

    static func nowMicroseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1_000
    }
}

/// The usage row could not be made durable, so the answer must not look complete.
struct SettlementFailed: APIErrorConvertible {
    var apiError: APIError { .unavailable() }
}
