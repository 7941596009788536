import HTTPClient
import Mesh
import OpenAI
import ZeroMQ

/// A call on its way through the mesh: the router chooses the agent, and tries others unseen; here are only the frames of the one that answers.
final class MeshCall: UpstreamCall {
    private let request: UpstreamRequest
    private let upstream: MeshUpstream
    private let id: String
    private let mailbox: MeshMailbox
    private let start = ContinuousClock.now
    /// Routers to ask, the next one first.
    private var routers: [Int]
    private var router: Int?
    private var credits = CreditReturns(StreamWindow(places: 1))
    private var messages: [[ZeroMQPart]] = []
    private var lost: Set<Int> = []
    /// Chunks of a stream that have come in one frame, the next one last.
    private var events: [[UInt8]] = []
    /// Bytes of the frame whose events are being given, to be acknowledged when the last of them was taken.
    private var unflushed: Int?
    /// What was given last, an event in pieces, or the whole answer.
    private var bytes = ByteStore()
    private var attempt = 0
    private var hasGivenFrame = false
    private var isAnswered = false
    private var fault: APIError?
    private var hasEnded = false
    private(set) var workerID = "none"
    private(set) var attempts = 1
    private(set) var queueTime: Duration = .zero
    private(set) var decisionTime: Duration = .zero
    private(set) var score: Double?
    private(set) var isExploration = false

    init(_ request: UpstreamRequest, of upstream: MeshUpstream) {
        self.request = request
        self.upstream = upstream
        (id, mailbox) = upstream.links.open(request.requestID)
        routers = upstream.links.routers(for: upstream.pool)
        askNext(else: Self.noWorker)
    }

    deinit {
        cancel()
        upstream.links.close(id)
    }

    func next(until instant: ContinuousClock.Instant) -> UpstreamEvent {
        while true {
            if let fault {
                hasEnded = true
                return .fault(UpstreamFault(fault))
            }
            if hasEnded { return .finished }
            if let event = events.popLast() { return give(event) }
            acknowledge()
            if isAnswered { return answer() }
            if messages.isEmpty, let event = wait(until: instant) { return event }
            if !messages.isEmpty { take(messages.removeFirst()) }
        }
    }

    func cancel() { stop(.client) }

    func hasSeen(_ names: [UInt64]) {
        guard let router else { return }
        upstream.links.send(Message(sequence: 0, time: 0, .extend(Extend(workerID: workerID, prefix: names))), to: router)
    }

    private func stop(_ reason: Cancel.Reason) {
        guard !hasEnded else { return }
        hasEnded = true
        if !isAnswered { tell(.cancel(Cancel(reason: reason))) }
    }

    private func tell(_ frame: Frame) {
        guard let router else { return }
        upstream.links.send(Message(id: id, attempt: attempt, sequence: 0, time: 0, frame), to: router)
    }

    private func give(_ event: [UInt8]) -> UpstreamEvent {
        bytes.removeAll()
        event.withUnsafeBytes { bytes.append($0) }
        hasGivenFrame = true
        return .frame(bytes.bytes)
    }

    /// The client has all that was given.
    private func acknowledge() {
        guard let count = unflushed else { return }
        unflushed = nil
        if let credit = credits.flushed(bytes: count) { tell(.credit(credit)) }
    }

    /// The agent is done: an answer that is no stream is given whole.
    private func answer() -> UpstreamEvent {
        if !request.isStream && !hasGivenFrame && !bytes.isEmpty {
            hasGivenFrame = true
            return .frame(bytes.bytes)
        }
        hasEnded = true
        return .finished
    }

    /// - Returns: nil when something has come.
    private func wait(until instant: ContinuousClock.Instant) -> UpstreamEvent? {
        let mayRunOut = !(request.isStream && hasGivenFrame)
        if mayRunOut && ContinuousClock.now >= request.deadline { return runOut() }
        switch mailbox.bell.wait(until: mayRunOut ? min(instant, request.deadline) : instant, orDescriptor: request.clientDescriptor) {
        case .rung:
            let news = mailbox.take()
            messages += news.messages
            lost.formUnion(news.lost)
            if messages.isEmpty { lookForLostRouter() }
            return nil
        case .descriptorReady:
            cancel()
            return .clientGone
        case .timedOut:
            if mayRunOut && ContinuousClock.now >= request.deadline { return runOut() }
            return .silence
        }
    }

    private func runOut() -> UpstreamEvent {
        stop(.timeout)
        return .fault(UpstreamFault(APIError(.gatewayTimeout, "The request ran out of time before the model answered.")))
    }

    private func take(_ parts: [ZeroMQPart]) {
        defer { if messages.isEmpty { lookForLostRouter() } }
        let message: Message?
        do throws(FrameError) { message = try Message.read(parts[...], from: .relay) } catch {
            stop(.client)
            return fault = APIError.invalidUpstream
        }
        guard let message else { return }
        if message.attempt != attempt {
            // What another attempt has begun is worth nothing.
            attempt = message.attempt
            bytes.removeAll()
        }
        switch message.frame {
        case .routed(let routed):
            workerID = routed.workerID
            attempts = routed.attempts
            queueTime = .microseconds(routed.queueTime)
            decisionTime = .microseconds(routed.decisionTime)
            credits = CreditReturns(StreamWindow(credits: routed.credit))
            (score, isExploration) = (routed.score, routed.isExploration)
        case .chunk(let chunk): take(chunk)
        case .done: isAnswered = true
        case .error(let failure): take(failure)
        default: break
        }
    }

    private func take(_ chunk: Chunk) {
        switch chunk.content {
        case .events(let list):
            unflushed = list.reduce(0) { $0 + $1.count }
            events = list.reversed()
        case .bytes(let piece):
            unflushed = piece.count
            piece.withUnsafeBytes { bytes.append($0) }
            if bytes.bytes.count > Self.largestAnswer {
                stop(.client)
                fault = APIError.invalidUpstream
            } else if request.isStream && chunk.isFinal {
                // An event that was too long for one frame.
                events = [Array(bytes.bytes)]
            }
        }
    }

    private static let largestAnswer = 64 << 20

    private func take(_ failure: Failure) {
        isAnswered = true
        if failure.fault == .client {
            let said = Array(failure.message.utf8).withUnsafeBytes { UpstreamErrorBody($0) }
            fault = said.apiError(hosts: [], input: request.input)
        } else if failure.code == "no_worker_available" && !hasGivenFrame {
            // Another router may know one.
            isAnswered = false
            askNext(else: Self.noWorker)
        } else {
            fault = Self.words(failure.code)
        }
    }

    /// In our words: what an agent says of its faults is nobody's business.
    private static func words(_ code: String) -> APIError {
        switch code {
        case "capacity_exceeded": APIError(.capacityExceeded, "The endpoint is at capacity.", retryAfter: 2, strategy: .capacity)
        case "no_worker_available": noWorker
        case "stream_interrupted": APIError(.streamInterrupted, "The model server broke off its answer.")
        case "upstream_timeout": APIError(.upstreamTimeout, "The model server ran out of time.")
        case "upstream_invalid_response":
            APIError(.upstreamInvalidResponse, "The model server gave an answer that cannot be read.")
        case "invalid_request": APIError(.invalidRequest, "The model server refused the request.")
        default: APIError(.upstreamError, "The model server failed to answer.")
        }
    }

    private static var noWorker: APIError { APIError(.noWorkerAvailable, "No worker is available right now.", retryAfter: 5) }

    private func lookForLostRouter() {
        guard let router, lost.contains(router), !isAnswered, !hasEnded else { return }
        lost = []
        if hasGivenFrame {
            self.router = nil
            fault = Self.words("stream_interrupted")
        } else {
            bytes.removeAll()
            askNext(else: Self.noWorker)
        }
    }

    /// Asks the next router, if there is one.
    private func askNext(else failure: APIError) {
        guard !routers.isEmpty else {
            router = nil
            return fault = failure
        }
        let next = routers.removeFirst()
        router = next
        // It may have been lost before, and is there again.
        lost.remove(next)
        attempt = 0
        tell(.route(upstream.route(request)))
    }
}
