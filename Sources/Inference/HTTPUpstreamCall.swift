import HTTPClient
import OpenAI

/// A call on its way: it waits for a place, attempts, and gives what comes.
final class HTTPUpstreamCall: UpstreamCall {
    private let request: UpstreamRequest
    private let upstream: HTTPUpstream
    private let start = ContinuousClock.now
    private let deadline: ContinuousClock.Instant
    private let queueEnd: ContinuousClock.Instant
    private var ticket: UpstreamTicket?
    private var attempt: HTTPUpstreamAttempt?
    private var tried: [UpstreamTarget] = []
    private var phase: Phase
    private(set) var queueTime: Duration = .zero
    private(set) var decisionTime: Duration = .zero

    private enum Phase {
        case queued
        case choosing
        case running
        case pausing(until: ContinuousClock.Instant)
        case failed(APIError)
        /// The whole answer was given as one frame.
        case answered
        case ended
    }

    init(_ request: UpstreamRequest, to upstream: HTTPUpstream) {
        self.request = request
        self.upstream = upstream
        deadline = min(request.deadline, start + upstream.timeout)
        queueEnd = start + request.queueWait
        ticket = upstream.gate.join()
        phase = ticket == nil ? .failed(Self.capacityExceeded(upstream)) : .queued
    }

    deinit {
        if case .ended = phase { attempt?.keepConnection() }
        cancel()
    }

    var workerID: String { upstream.workerID }
    var attempts: Int { max(1, tried.count) }

    func next(until instant: ContinuousClock.Instant) -> UpstreamEvent {
        while true {
            switch phase {
            case .queued:
                if let event = waitForPlace(until: instant) { return event }
            case .choosing:
                choose()
            case .running:
                if let event = run(until: instant) { return event }
            case .pausing(let end):
                if Doorbell.pause(until: min(instant, end), unless: request.clientDescriptor) { return clientGone() }
                if ContinuousClock.now < end { return .silence }
                phase = .choosing
            case .failed(let error):
                cancel()
                return .fault(UpstreamFault(error))
            case .answered:
                cancel()
                return .finished
            case .ended:
                return .finished
            }
        }
    }

    func cancel() {
        phase = .ended
        attempt = nil
        ticket?.end()
        ticket = nil
    }

    private func clientGone() -> UpstreamEvent {
        cancel()
        return .clientGone
    }

    private func waitForPlace(until instant: ContinuousClock.Instant) -> UpstreamEvent? {
        let outcome = ticket?.wait(until: min(instant, queueEnd, deadline), orDescriptor: request.clientDescriptor) ?? .timedOut
        switch outcome {
        case .rung:
            queueTime = .now - start
            phase = .choosing
        case .descriptorReady:
            return clientGone()
        case .timedOut:
            let now = ContinuousClock.now
            if now >= deadline {
                phase = .failed(timeout)
            } else if now >= queueEnd {
                phase = .failed(Self.capacityExceeded(upstream))
            } else {
                return .silence
            }
        }
        return nil
    }

    private func choose() {
        let began = ContinuousClock.now
        defer { decisionTime += .now - began }
        if began >= deadline {
            phase = .failed(timeout)
        } else if let target = upstream.choose(besides: tried) {
            tried.append(target)
            attempt = HTTPUpstreamAttempt(request, at: target, of: upstream)
            phase = .running
        } else if upstream.targets.contains(where: { $0.base != nil }) {
            phase = .failed(APIError(.noWorkerAvailable, "No model server is available right now.", retryAfter: upstream.health.retryAfter))
        } else {
            upstream.settings.log("egress_blocked: \(workerID) has no address that the operator allows")
            phase = .failed(UpstreamFailure.transfer(.blocked).apiError)
        }
    }

    private func run(until instant: ContinuousClock.Instant) -> UpstreamEvent? {
        guard let attempt else { return .finished }
        let mayRunOut = !(request.isStream && attempt.hasGivenFrame)
        switch attempt.next(until: mayRunOut ? min(instant, deadline) : instant) {
        case .frame(let bytes):
            if !request.isStream { phase = .answered }
            return .frame(bytes)
        case .finished:
            phase = .ended
            ticket?.end()
            ticket = nil
            return .finished
        case .refused(let error):
            phase = .failed(error)
        case .failed(let failure):
            phase = reaction(to: failure, afterFrame: attempt.hasGivenFrame)
            self.attempt = nil
        case .clientGone:
            return clientGone()
        case .silence:
            guard mayRunOut && ContinuousClock.now >= deadline else { return .silence }
            phase = .failed(timeout)
        }
        return nil
    }

    private func reaction(to failure: UpstreamFailure, afterFrame: Bool) -> Phase {
        if failure == .transfer(.blocked) {
            upstream.settings.log("egress_blocked: \(workerID) resolves to an address that is not public")
        }
        if afterFrame {
            let isLost = failure == .transfer(.lost)
            return .failed(APIError(isLost ? .streamInterrupted : .streamError, "The model server broke off its answer."))
        }
        guard failure.isRetried && tried.count < UpstreamRetry.maximumAttempts else { return .failed(failure.apiError) }
        let pause = UpstreamRetry.pause(afterAttempts: tried.count, jitter: .random(in: -0.2...0.2)) * upstream.settings.timeScale
        let end = ContinuousClock.now + pause
        return end < deadline ? .pausing(until: end) : .failed(failure.apiError)
    }

    private var timeout: APIError {
        request.deadline <= deadline
            ? APIError(.gatewayTimeout, "The request ran out of time before the model answered.")
            : APIError(.upstreamTimeout, "The model server ran out of time.")
    }

    private static func capacityExceeded(_ upstream: HTTPUpstream) -> APIError {
        APIError(
            .capacityExceeded, "The endpoint is at capacity.", retryAfter: upstream.gate.retryAfter, strategy: .capacity)
    }
}
