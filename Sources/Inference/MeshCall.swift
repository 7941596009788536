import HTTPClient
import Mesh
import OpenAI

/// A call on its way through the mesh: the router chooses the agent, and tries others unseen; here are only the frames of the one that answers.
final class MeshCall: UpstreamCall {
    private let request: UpstreamRequest
    private let upstream: MeshUpstream
    private let id: String
    /// Routers to ask, the next one first.
    private var routers: [Int]
    /// To the router that was asked.
    private var connection: RouterConnection?
    private var credits = CreditReturns(StreamWindow(places: 1))
    /// Chunks of a stream that have come in one frame, the next one last.
    private var events: [[UInt8]] = []
    /// Bytes of the frame whose events are being given, to be acknowledged when the last of them was taken.
    private var unflushed: Int?
    /// The event that was given last.
    private var given = ByteStore()
    /// What has come of an event in pieces, or of the whole answer.
    private var bytes = ByteStore()
    private var attempt = 0
    private var hasGivenFrame = false
    private var isAnswered = false
    private var fault: APIError?
    private var hasEnded = false
    private(set) var workerID = MeshCall.nobody
    private(set) var attempts = 1
    private(set) var queueTime: Duration = .zero
    private(set) var decisionTime: Duration = .zero
    private(set) var score: Double?
    private(set) var isExploration = false

    init(_ request: UpstreamRequest, of upstream: MeshUpstream) {
        self.request = request
        self.upstream = upstream
        id = upstream.links.name(request.requestID)
        routers = upstream.links.routers(for: upstream.pool)
        askNext(else: Self.noWorker)
    }

    deinit {
        cancel()
        // Nothing is expected on it any more: it serves the next call.
        if isAnswered, let connection { upstream.links.giveBack(connection) }
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
            if let event = wait(until: instant) { return event }
        }
    }

    func cancel() { stop(.client) }

    func hasSeen(_ names: [UInt64]) { tell(.extend(Extend(workerID: workerID, prefix: names))) }

    private func stop(_ reason: Cancel.Reason) {
        guard !hasEnded else { return }
        hasEnded = true
        guard !isAnswered else { return }
        tell(.cancel(Cancel(reason: reason)))
        if workerID == Self.nobody { readWhoHadIt() }
        connection = nil
    }

    /// The router keeps the name of the agent until there is something of its answer, and says it at the latest when the request is over.
    private func readWhoHadIt() {
        let end = ContinuousClock.now + Self.lastWordsTime
        while case .message(let message)? = connection?.next(until: end) { if case .routed = message.frame { take(message) } }
    }

    private static let nobody = "none"
    private static let lastWordsTime = Duration.milliseconds(100)

    private func tell(_ frame: Frame) {
        connection?.send(Message(id: id, attempt: attempt, sequence: 0, time: 0, frame), until: .now + Self.sendTime)
    }

    /// A large request may have to wait for the router to read it.
    private static let sendTime = Duration.seconds(10)

    private func give(_ event: [UInt8]) -> UpstreamEvent {
        given.removeAll()
        event.withUnsafeBytes { given.append($0) }
        hasGivenFrame = true
        return .frame(given.bytes)
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
        guard let connection else { return nil }
        let mayRunOut = !(request.isStream && hasGivenFrame)
        if mayRunOut && ContinuousClock.now >= request.deadline { return runOut() }
        switch connection.next(until: mayRunOut ? min(instant, request.deadline) : instant, orDescriptor: request.clientDescriptor) {
        case .message(let message): take(message)
        case .lost: loseRouter()
        case .descriptorReady:
            cancel()
            return .clientGone
        case .timedOut:
            if mayRunOut && ContinuousClock.now >= request.deadline { return runOut() }
            return .silence
        }
        return nil
    }

    private func runOut() -> UpstreamEvent {
        stop(.timeout)
        return .fault(UpstreamFault(APIError(.gatewayTimeout, "The request ran out of time before the model answered.")))
    }

    private func take(_ message: Message) {
        guard message.id == id else { return }
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
                bytes.removeAll()
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
            if let connection { upstream.links.giveBack(connection) }
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

    private func loseRouter() {
        connection = nil
        if hasGivenFrame {
            fault = Self.words("stream_interrupted")
        } else {
            bytes.removeAll()
            askNext(else: Self.noWorker)
        }
    }

    /// Asks the next router that is there.
    private func askNext(else failure: APIError) {
        (attempt, workerID) = (0, Self.nobody)
        while !routers.isEmpty {
            connection = upstream.links.connection(to: routers.removeFirst())
            if connection != nil { return tell(.route(upstream.route(request))) }
        }
        connection = nil
        fault = failure
    }
}
