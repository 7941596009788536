import HTTPClient
import Mesh
import OpenAI
import Synchronization

/// A request that the router has dispatched: a thread asks the engine and sends what comes, as fast as credits allow.
///
/// Without credits the engine's connection is not read, so that the engine waits (05 §14).
final class ServedRequest: Sendable {
    let id: String
    let attempt: Int
    private let dispatch: Dispatch
    private let serving: Serving
    private let outbox: SessionOutbox
    private let credits: SessionCredits
    private let coalesce: Duration
    private let bell = Doorbell()
    private let isCancelled = Atomic(false)

    /// How the session knows it: a later attempt is another request here.
    var key: String { "\(id)/\(attempt)" }

    init(
        _ message: Message, _ dispatch: Dispatch, serving: Serving, outbox: SessionOutbox, credits: SessionCredits, coalesce: Duration
    ) {
        id = message.id
        attempt = message.attempt
        self.dispatch = dispatch
        self.serving = serving
        self.outbox = outbox
        self.credits = credits
        self.coalesce = coalesce
    }

    private var model: String {
        guard case .inference(_, let model, _) = dispatch.work else { return "" }
        return model.id
    }

    /// Credits have come.
    func wake() { bell.ring() }

    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        bell.ring()
    }

    /// From its first frame to the last one. On the request's own thread.
    func run() {
        let start = ContinuousClock.now
        serving.metrics.requestBegan(model)
        serving.supervised?.requestBegan()
        var answer = EngineAnswer(self)
        let last = answer.run()
        if let last { answer.say(last) }
        answer.send()
        answer.keepConnection()
        serving.supervised?.requestEnded()
        serving.metrics.requestEnded(
            model, after: (ContinuousClock.now - start) / .seconds(1), promptTokens: answer.tokens.prompt,
            generationTokens: answer.tokens.generation)
        serving.leave()
        outbox.add([], of: key, isEnd: true)
    }

    /// One run: what only the request's thread sees.
    private struct EngineAnswer {
        private let request: ServedRequest
        private var unsent: [Frame] = []
        private var parser = SSEParserBox()
        private var pending: [[UInt8]] = []
        private var pendingBytes = 0
        private var nextFlush: ContinuousClock.Instant?
        private var lastFlush: ContinuousClock.Instant?
        private var flushes = 0
        private var status = 0
        private var isStream = false
        private var body: [UInt8] = []
        private var usage = AnswerUsage()
        private let start = ContinuousClock.now
        private var firstToken: ContinuousClock.Instant?
        private var transfer: HTTPTransfer?
        private var isDone = false

        private var chunkLength: Int { StreamWindow(credits: request.dispatch.credit).chunkLength }

        private static let largestAnswer = 64 << 20
        private static let largestError = 64 << 10
        /// The role and the first token, which engines say apart.
        private static let firstFlushes = 2

        init(_ request: ServedRequest) { self.request = request }

        /// Goes out with the next `send`.
        mutating func say(_ frame: Frame) { unsent.append(frame) }

        mutating func send() {
            request.outbox.add(unsent, of: request.key)
            unsent = []
        }

        var tokens: (prompt: Int, generation: Int) { (usage.usage?.promptTokens ?? 0, usage.usage?.completionTokens ?? 0) }

        private mutating func first() {
            let now = ContinuousClock.now
            firstToken = now
            request.serving.metrics.firstToken(request.model, after: (now - start) / .seconds(1))
        }

        /// - Returns: the last frame; nil where nobody waits for one.
        mutating func run() -> Frame? {
            guard case .inference(let task, _, let body) = request.dispatch.work else { return nil }
            let trace = request.dispatch.trace.map { "X-Request-ID: \($0)" }
            let engine = request.serving.engine
            let transfer = engine.client.start(
                HTTPRequest(.post, engine.address(of: Self.path(of: task)), headers: engine.headers, extraHeader: trace, body: body),
                extraDescriptor: request.bell.descriptor)
            self.transfer = transfer
            let far = ContinuousClock.now + .seconds(5 * 3_600)
            while true {
                if request.isCancelled.load(ordering: .acquiring) { return nil }
                switch transfer.next(until: nextFlush ?? far) {
                case .head(let head):
                    status = head.status
                    isStream = head.isEventStream
                case .body(let bytes):
                    if let end = take(bytes) { return end }
                case .finished: return end()
                case .failed(let failure): return failed(failure)
                case .extraDescriptorReady: request.bell.silence()
                case .timedOut:
                    if nextFlush == nil { return .error(Failure(code: "upstream_timeout", fault: .agent, message: "")) }
                    guard flush() else { return nil }
                }
            }
        }

        /// After `[DONE]`: reads the little that closes the body, so that the connection can serve the next request.
        func keepConnection() {
            guard isDone, let transfer else { return }
            let end = ContinuousClock.now + .milliseconds(20)
            while case .body = transfer.next(until: end) {}
        }

        private static func path(of task: Dispatch.Task) -> String {
            switch task {
            case .chat: "chat/completions"
            case .completion: "completions"
            case .embed: "embeddings"
            case .rerank: "rerank"
            case .score: "score"
            }
        }

        private mutating func take(_ bytes: UnsafeRawBufferPointer) -> Frame? {
            guard status == 200, isStream else {
                body.append(contentsOf: bytes)
                if status != 200 && body.count > Self.largestError { return refused() }
                return body.count > Self.largestAnswer ? unreadable : nil
            }
            switch parser.take(bytes) {
            case .tooLarge: return unreadable
            case .events(let events, let isDone):
                for event in events { guard add(event) else { return nil } }
                if isDone {
                    self.isDone = true
                    return done()
                }
                guard !pending.isEmpty else { return nil }
                // What comes soon after a frame goes out with what follows; anything else at once.
                let now = ContinuousClock.now
                let due = lastFlush.map { $0 + request.coalesce } ?? now
                if flushes < Self.firstFlushes || due <= now { _ = flush() } else { nextFlush = due }
                return nil
            }
        }

        /// - Returns: false where it is cancelled.
        private mutating func add(_ event: [UInt8]) -> Bool {
            if firstToken == nil { first() }
            request.serving.supervised?.tokenCame()
            usage.read(event)
            if pendingBytes + event.count > chunkLength { guard flush() else { return false } }
            guard event.count <= chunkLength else { return sendBytes(event) }
            pending.append(event)
            pendingBytes += event.count
            return true
        }

        /// - Parameter isLast: the last frame follows at once and goes out with it.
        private mutating func flush(isLast: Bool = false) -> Bool {
            nextFlush = nil
            guard !pending.isEmpty else { return true }
            guard waitForCredit(pendingBytes) else { return false }
            request.credits.sent(request.key, bytes: pendingBytes)
            say(.chunk(Chunk(.events(pending), tokens: pending.count)))
            (pending, pendingBytes, lastFlush) = ([], 0, .now)
            flushes += 1
            if !isLast { send() }
            return true
        }

        /// A whole answer, or one long event, in pieces; the last one is marked.
        private mutating func sendBytes(_ bytes: [UInt8], isLast: Bool = false) -> Bool {
            for start in stride(from: 0, to: bytes.count, by: chunkLength) {
                let piece = Array(bytes[start..<min(bytes.count, start + chunkLength)])
                guard waitForCredit(piece.count) else { return false }
                request.credits.sent(request.key, bytes: piece.count)
                say(.chunk(Chunk(.bytes(piece), tokens: 0, isFinal: start + piece.count == bytes.count)))
                lastFlush = .now
                if !(isLast && start + piece.count == bytes.count) { send() }
            }
            return true
        }

        /// - Returns: false where it is cancelled.
        private func waitForCredit(_ bytes: Int) -> Bool {
            var isStalled = false
            while true {
                if request.isCancelled.load(ordering: .acquiring) { return false }
                if request.credits.maySend(request.key, bytes: bytes) { return true }
                if !isStalled { request.serving.metrics.creditStalled() }
                isStalled = true
                // The cap of all streams may be what is missing, which nobody rings for.
                if request.bell.wait(until: .now + .milliseconds(100)) == .rung { request.bell.silence() }
            }
        }

        private mutating func end() -> Frame? {
            guard status == 200 else { return refused() }
            if isStream { return done() }
            guard !body.isEmpty else { return unreadable }
            usage.read(body)
            first()
            return sendBytes(body, isLast: true) ? done() : nil
        }

        private mutating func done() -> Frame? {
            guard flush(isLast: true) else { return nil }
            let now = ContinuousClock.now
            let first = firstToken ?? now
            return .done(
                Done(
                    finishReason: usage.finishReason, usage: usage.usage,
                    // Of a whole answer nobody knows when its first token was there.
                    timings: isStream
                        ? Timings(queue: 0, prefill: (first - start) / .milliseconds(1), decode: (now - first) / .milliseconds(1)) : nil,
                    cachedTokens: usage.cachedTokens))
        }

        private mutating func failed(_ failure: HTTPFailure) -> Frame? {
            // What has come is the client's.
            guard flush() else { return nil }
            let code =
                failure.kind == .cannotConnect
                ? "no_worker_available" : failure.kind == .malformed ? "upstream_invalid_response" : "upstream_error"
            return .error(Failure(code: code, fault: .agent, message: ""))
        }

        private var unreadable: Frame { .error(Failure(code: "upstream_invalid_response", fault: .agent, message: "")) }

        /// An error of the engine: what is the client's fault it may read, in the words of the platform.
        private func refused() -> Frame {
            let said = body.withUnsafeBytes { UpstreamErrorBody($0) }
            guard [400, 413, 422].contains(status) || said.saysContentUnsupported || said.saysContextExceeded else {
                let code =
                    switch status {
                    case 429: "capacity_exceeded"
                    case 503: "no_worker_available"
                    case 504: "upstream_timeout"
                    default: "upstream_error"
                    }
                return .error(Failure(code: code, fault: .agent, message: ""))
            }
            return .error(Failure(code: "refused", fault: .client, message: String(decoding: body.prefix(8_000), as: UTF8.self)))
        }
    }
}

/// Cuts a stream into events.
private final class SSEParserBox {
    private var parser = SSEParser()

    enum Outcome {
        case events([[UInt8]], isDone: Bool)
        case tooLarge
    }

    func take(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        var position = 0
        var events: [[UInt8]] = []
        while true {
            switch parser.next(in: bytes, position: &position) {
            case .needsMore: return .events(events, isDone: false)
            case .tooLarge: return .tooLarge
            case .data(let data):
                if data.isEmpty { continue }
                if data.elementsEqual("[DONE]".utf8) { return .events(events, isDone: true) }
                events.append(Array(data))
            }
        }
    }
}
