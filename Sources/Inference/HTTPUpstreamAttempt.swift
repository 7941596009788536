import HTTPClient
import OpenAI

/// One attempt at one target: turns bytes into frames and judges the answer.
final class HTTPUpstreamAttempt {
    enum Event {
        case frame(UnsafeRawBufferPointer)
        case finished
        /// The model server calls it the client's fault.
        case refused(APIError)
        case failed(UpstreamFailure)
        case clientGone
        case silence
    }

    private let request: UpstreamRequest
    private let target: UpstreamTarget
    private let upstream: HTTPUpstream
    private let transfer: HTTPTransfer
    private var head: HTTPHead?
    private var parser = SSEParser()
    /// The bytes of the last body event, and how far the parser has come in them.
    private var chunk = UnsafeRawBufferPointer(start: nil, count: 0)
    private var position = 0
    /// What is not a stream: the whole answer, or the start of an error's body.
    private var body = ByteStore()
    private(set) var hasGivenFrame = false
    private var isDone = false

    private static let largestErrorBody = 64 * 1024

    init(_ request: UpstreamRequest, at target: UpstreamTarget, of upstream: HTTPUpstream) {
        self.request = request
        self.target = target
        self.upstream = upstream
        target.inFlight.add(1, ordering: .relaxed)
        transfer = upstream.start(request, at: target)
    }

    deinit { target.inFlight.subtract(1, ordering: .relaxed) }

    func next(until instant: ContinuousClock.Instant) -> Event {
        while true {
            if position < chunk.count, let event = nextFrame() { return event }
            switch transfer.next(until: instant) {
            case .head(let head):
                self.head = head
                if isSuccess && !hasExpectedType { return .failed(.unreadable) }
            case .body(let bytes):
                if let event = take(bytes) { return event }
            case .finished: return end()
            case .failed(let failure): return isSuccess || head == nil ? .failed(.transfer(failure.kind)) : end()
            case .extraDescriptorReady: return .clientGone
            case .timedOut: return .silence
            }
        }
    }

    /// After `[DONE]`: reads the little that closes the body, so that the connection can serve the next call.
    func keepConnection() {
        guard isDone else { return }
        let end = ContinuousClock.now + .milliseconds(20)
        while case .body = transfer.next(until: end) {}
    }

    private var isSuccess: Bool { head.map { (200..<300).contains($0.status) } ?? false }
    private var isStream: Bool { request.isStream && isSuccess }

    private var hasExpectedType: Bool { head.map { request.isStream ? $0.isEventStream : $0.isJSON } ?? false }

    private func take(_ bytes: UnsafeRawBufferPointer) -> Event? {
        if isStream {
            (chunk, position) = (bytes, 0)
        } else if isSuccess {
            body.append(bytes)
            if body.bytes.count > upstream.settings.maximumAnswerBytes { return .failed(.unreadable) }
        } else {
            body.append(bytes)
            if body.bytes.count > Self.largestErrorBody { return end() }
        }
        return nil
    }

    private func nextFrame() -> Event? {
        while true {
            switch parser.next(in: chunk, position: &position) {
            case .needsMore: return nil
            case .tooLarge: return .failed(.unreadable)
            case .data(let data):
                if data.isEmpty { continue }
                if data.elementsEqual("[DONE]".utf8) {
                    isDone = true
                    return .finished
                }
                hasGivenFrame = true
                return .frame(data)
            }
        }
    }

    private func end() -> Event {
        guard let status = head?.status else { return .failed(.transfer(.malformed)) }
        if isStream { return .finished }
        if isSuccess {
            guard !body.isEmpty else { return .failed(.unreadable) }
            hasGivenFrame = true
            return .frame(body.bytes)
        }
        let said = UpstreamErrorBody(body.bytes)
        guard UpstreamFailure.isClientFault(status: status) || said.saysContentUnsupported || said.saysContextExceeded else {
            return .failed(.status(status, retryAfter: head?.value(of: "retry-after").flatMap { Int($0) }))
        }
        return .refused(said.apiError(hosts: upstream.targets.map(\.host), input: request.input))
    }
}
