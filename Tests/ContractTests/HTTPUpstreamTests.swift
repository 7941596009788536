import Addresses
import Catalog
import Foundation
import HTTPClient
import Inference
import OpenAI
import Synchronization
import Testing

@Suite(.serialized) struct HTTPUpstreamTests {
    static let tier = ServiceTier(
        slug: "demo", priceNanoPerMtok: 0, tokensPerMinute: nil, requestsPerMinute: nil, burstFloor: 1, requestTimeout: .seconds(30),
        idleStreamTimeout: .seconds(30), concurrent: 100, queueWait: .seconds(5), priority: 1)

    static func endpoint(_ urls: [String], timeout: Int = 30_000, generation: Int64 = 1, id: ID<Endpoint> = .random()) -> EndpointRecord {
        var settings = UpstreamSettings(urls: urls, timeoutMilliseconds: timeout, maxConcurrent: 1000)
        settings.apiKey = "secret-upstream-key"
        settings.healthPath = "/health"
        settings.headers = ["X-Team": "blue", "Host": "evil"]
        return EndpointRecord(
            id: id, projectID: .random(), slug: "demo", status: .active, generation: generation, taskMode: .generate, tier: tier,
            modelID: .random(), modelName: "m", modelVersion: "1", contextLength: nil, upstream: settings, limits: EndpointLimits(),
            defaults: EndpointDefaults(), createdAt: 0)
    }

    /// An upstream whose health is asked for so seldom that tests do not see it, unless they want to.
    final class Rig: Sendable {
        let health: UpstreamHealth
        let upstream: HTTPUpstream
        let log = Mutex<[String]>([])

        init(
            _ servers: [RawServer], places: Int = 1000, timeout: Int = 30_000, allow: Bool = true, urls: [String]? = nil,
            outbound: OutboundGuard? = nil, interval: Duration = .seconds(3600)
        ) {
            health = UpstreamHealth(interval: interval)
            var settings = HTTPUpstreamSettings()
            settings.outbound = outbound ?? OutboundGuard(allowHosts: allow ? servers.map(\.authority) : [])
            settings.connectTimeout = .seconds(1)
            upstream = HTTPUpstream(
                HTTPUpstreamTests.endpoint(urls ?? servers.map { $0.origin + "/v1" }, timeout: timeout), places: places, settings: settings,
                health: health)
        }

        deinit { health.stop() }

        func send(
            stream: Bool = true, deadline: Duration = .seconds(10), queueWait: Duration = .seconds(1), client: ClientStandIn? = nil
        ) -> any UpstreamCall {
            upstream.send(
                UpstreamRequest(
                    path: "chat/completions", body: Array("{\"model\":\"m\"}".utf8), isStream: stream, requestID: "req_1",
                    deadline: .now + deadline, queueWait: queueWait, clientDescriptor: client?.descriptor))
        }
    }

    struct Outcome {
        var frames: [String] = []
        var finished = false
        var error: APIError?
        var clientGone = false
        var silent = false
        var attempts = 0
    }

    static func collect(_ call: any UpstreamCall, within limit: Duration = .seconds(15)) -> Outcome {
        var outcome = Outcome()
        let end = ContinuousClock.now + limit
        loop: while true {
            switch call.next(until: end) {
            case .frame(let bytes):
                outcome.frames.append(String(decoding: bytes, as: UTF8.self))
                continue loop
            case .finished: outcome.finished = true
            case .fault(let fault): outcome.error = fault.apiError
            case .clientGone: outcome.clientGone = true
            case .silence: outcome.silent = true
            }
            outcome.attempts = call.attempts
            return outcome
        }
    }

    /// A server that answers its health probe and gives the rest to the test.
    static func server(health: String = "200 OK", _ serve: @escaping @Sendable (RawConnection, String) -> Void) throws -> RawServer {
        try RawServer { connection in
            while let request = connection.readRequest() {
                if request.hasPrefix("GET /health ") { connection.answer(health, "{}") } else { serve(connection, request) }
            }
        }
    }

    static func refusing(_ status: String, _ body: String = "{}", headers: String = "") throws -> RawServer {
        try server { connection, _ in connection.answer(status, headers: headers, body) }
    }

    static let stream: @Sendable (RawConnection, String) -> Void = { connection, _ in
        connection.startStream()
        connection.sendChunk("data: {\"a\":1}\n\n")
        connection.sendChunk(": ping\n\ndata: {\"a\":")
        connection.sendChunk("2}\r\n\r\ndata: [DONE]\n\n")
        connection.send("0\r\n\r\n")
    }

    @Test func aStreamIsGivenFrameByFrameOverKeptConnections() async throws {
        try await onThread {
            let seen = Mutex<[String]>([])
            let server = try Self.server { connection, request in
                seen.withLock { $0.append(request) }
                Self.stream(connection, request)
            }
            let rig = Rig([server])
            usleep(50_000)
            let before = server.connections.load(ordering: .relaxed)
            for _ in 0..<5 {
                let outcome = Self.collect(rig.send())
                #expect(outcome.frames == ["{\"a\":1}", "{\"a\":2}"] && outcome.finished && outcome.attempts == 1)
            }
            // On a busy machine an end that comes too late costs a connection.
            #expect(server.connections.load(ordering: .relaxed) - before < 4)
            let request = try #require(seen.withLock { $0.first })
            #expect(request.hasPrefix("POST /v1/chat/completions HTTP/1.1\r\nHost: \(server.authority)\r\n"))
            for line in [
                "X-Request-ID: req_1", "Authorization: Bearer secret-upstream-key", "X-Team: blue", "Content-Type: application/json",
            ] {
                #expect(request.contains(line + "\r\n"))
            }
            #expect(!request.contains("evil"))
        }
    }

    @Test(arguments: ["", "/", "/v1", "/v1/", "/base", "/base/v1"]) func theURLMayEndInVersionOne(path: String) async throws {
        try await onThread {
            let seen = Mutex("")
            let server = try Self.server { connection, request in
                seen.withLock { $0 = request }
                connection.answer("200 OK", "{}")
            }
            let rig = Rig([server], urls: [server.origin + path])
            #expect(Self.collect(rig.send(stream: false)).finished)
            #expect(seen.withLock { $0 }.hasPrefix("POST \(path.hasPrefix("/base") ? "/base" : "")/v1/chat/completions "))
        }
    }

    @Test func anAnswerIsOneFrame() async throws {
        try await onThread {
            let body = "{\"text\":\"" + String(repeating: "x", count: 200_000) + "\"}"
            let rig = Rig([try Self.server { connection, _ in connection.answer("200 OK", body) }])
            let outcome = Self.collect(rig.send(stream: false))
            #expect(outcome.frames == [body] && outcome.finished)
        }
    }

    @Test(arguments: [
        ("400 Bad Request", "{\"error\":{\"message\":\"temperature is bad\",\"param\":\"temperature\"}}", ErrorCode.invalidRequest, 1),
        ("404 Not Found", "{\"error\":{\"message\":\"no model at http://10.0.0.1:8000/x\"}}", .upstreamError, 1),
        ("400 Bad Request", "{\"error\":{\"type\":\"exceed_context_size_error\",\"message\":\"too long\"}}", .contextLengthExceeded, 1),
        ("400 Bad Request", "{\"message\":\"This model's maximum context length is 4096 tokens.\"}", .contextLengthExceeded, 1),
        ("400 Bad Request", "{\"error\":{\"code\":\"context_length_exceeded\"}}", .contextLengthExceeded, 1),
        ("422 Unprocessable", "<html>", .invalidRequest, 1),
        ("413 Too Large", "{}", .invalidRequest, 1),
        ("401 Unauthorized", "{}", .upstreamError, 1),
        ("403 Forbidden", "{}", .upstreamError, 1),
        ("302 Found", "{}", .upstreamError, 1),
        ("500 Internal", "{}", .upstreamError, 1),
        ("502 Bad Gateway", "{}", .upstreamError, 3),
        ("503 Unavailable", "{}", .noWorkerAvailable, 3),
        ("504 Timeout", "{}", .upstreamTimeout, 3),
        ("429 Too Many", "{}", .capacityExceeded, 3),
    ]) func anErrorStatusHasItsCode(status: String, body: String, code: ErrorCode, attempts: Int) async throws {
        try await onThread {
            let rig = Rig([try Self.refusing(status, body)])
            let outcome = Self.collect(rig.send())
            #expect(outcome.error?.code == code && outcome.attempts == attempts)
            #expect(outcome.error?.message.contains("10.0.0.1") == false)
            #expect((outcome.error?.strategy != nil) == (code == .capacityExceeded))
        }
    }

    @Test func messagesAreCleaned() async throws {
        try await onThread {
            let message =
                "temperature must be at most 2, says gpu-7.internal:8000 in /srv/app/main.py with key sk-abcdefgh at 10.1.2.3\\nTrace"
            let rig = Rig([try Self.refusing("400 Bad", "{\"error\":{\"message\":\"\(message)\",\"param\":\"temperature\"}}")])
            let error = try #require(Self.collect(rig.send()).error)
            #expect(error.message == "temperature must be at most 2, says […] in […] with key […] at […]" && error.param == "temperature")
        }
    }

    @Test func answersThatCannotBeReadAreSaidSo() async throws {
        try await onThread {
            let html = try Self.server { connection, _ in connection.answer("200 OK", type: "text/html", "<html>") }
            #expect(Self.collect(Rig([html]).send()).error?.code == .upstreamInvalidResponse)
            #expect(Self.collect(Rig([html]).send(stream: false)).error?.code == .upstreamInvalidResponse)
            let json = try Self.server { connection, _ in connection.answer("200 OK", "{}") }
            #expect(Self.collect(Rig([json]).send()).error?.code == .upstreamInvalidResponse)
            let nonsense = try Self.server { connection, _ in
                connection.send("nonsense\r\n\r\n")
                connection.end()
            }
            #expect(Self.collect(Rig([nonsense]).send()).error?.code == .upstreamInvalidResponse)
        }
    }

    @Test func aServerThatIsGoneIsNoWorkerAndOneThatBreaksOffIsAnUpstreamError() async throws {
        try await onThread {
            let gone = try Self.server { _, _ in }
            gone.stop()
            let outcome = Self.collect(Rig([gone]).send())
            #expect(outcome.error?.code == .noWorkerAvailable && outcome.error?.retryAfter == 1 && outcome.attempts == 3)
            let breaking = try Self.server { connection, _ in connection.reset() }
            let broken = Self.collect(Rig([breaking]).send())
            #expect(broken.error?.code == .upstreamError && broken.attempts == 3)
        }
    }

    @Test(arguments: [true, false]) func aCutAfterAFrameIsAnInterruption(byReset: Bool) async throws {
        try await onThread {
            let server = try Self.server { connection, _ in
                connection.startStream()
                connection.sendChunk("data: {\"a\":1}\n\n")
                // A reset throws away what the client has not read yet, so it needs time to read the frame.
                usleep(500_000)
                if byReset { connection.reset() } else { connection.end() }
            }
            let outcome = Self.collect(Rig([server]).send())
            #expect(outcome.frames == ["{\"a\":1}"] && outcome.error?.code == .streamInterrupted && outcome.attempts == 1)
        }
    }

    @Test func aCleanEndWithoutDoneIsAnEnd() async throws {
        try await onThread {
            let server = try Self.server { connection, _ in
                connection.startStream()
                connection.sendChunk("data: {\"a\":1}\n\n")
                connection.send("0\r\n\r\n")
            }
            let outcome = Self.collect(Rig([server]).send())
            #expect(outcome.frames == ["{\"a\":1}"] && outcome.finished)
        }
    }

    @Test func theSecondURLIsTriedAfterTheFirstFailed() async throws {
        try await onThread {
            let bad = try Self.refusing("503 Unavailable")
            let good = try Self.server(Self.stream)
            let rig = Rig([bad, good])
            let outcomes = (0..<6).map { _ in Self.collect(rig.send()) }
            #expect(outcomes.allSatisfy { $0.finished && $0.frames.count == 2 && $0.attempts <= 2 })
            #expect(outcomes.contains { $0.attempts == 2 })
        }
    }

    @Test func aStreamThatBreaksBeforeItsFirstFrameIsTriedAgain() async throws {
        try await onThread {
            let turn = Atomic(0)
            let server = try Self.server { connection, request in
                if turn.wrappingAdd(1, ordering: .relaxed).oldValue > 0 { return Self.stream(connection, request) }
                connection.startStream()
                connection.sendChunk(": ping\n\n")
                connection.reset()
            }
            let outcome = Self.collect(Rig([server]).send())
            #expect(outcome.finished && outcome.frames.count == 2 && outcome.attempts == 2)
        }
    }

    @Test func deadlinesEndAWaitBeforeTheFirstFrameOnly() async throws {
        try await onThread {
            let silent = try Self.server { connection, _ in _ = connection.waitForClose() }
            let start = ContinuousClock.now
            #expect(Self.collect(Rig([silent]).send(deadline: .milliseconds(200))).error?.code == .gatewayTimeout)
            #expect(ContinuousClock.now - start < .seconds(5))
            #expect(Self.collect(Rig([silent], timeout: 100).send()).error?.code == .upstreamTimeout)
            let slow = try Self.server { connection, _ in
                connection.startStream()
                connection.sendChunk("data: 1\n\n")
                usleep(1_500_000)
                connection.sendChunk("data: 2\n\ndata: [DONE]\n\n")
                connection.send("0\r\n\r\n")
            }
            #expect(Self.collect(Rig([slow]).send(deadline: .seconds(1))).frames == ["1", "2"])
            let call = Rig([slow]).send()
            let quiet = Self.collect(call, within: .milliseconds(700))
            #expect(quiet.silent && quiet.frames == ["1"])
        }
    }

    @Test func aClientThatLeavesDuringSilenceIsNoticedAtOnceAndTheServerSeesTheClose() async throws {
        try await onThread {
            let closed = Mutex<ContinuousClock.Instant?>(nil)
            let server = try Self.server { connection, _ in
                connection.startStream()
                connection.sendChunk("data: 1\n\n")
                if connection.waitForClose() { closed.withLock { $0 = .now } }
            }
            let client = ClientStandIn()
            let rig = Rig([server])
            let call = rig.send(client: client)
            #expect(Self.collect(call, within: .seconds(1)).frames == ["1"])
            let left = ContinuousClock.now
            client.leave()
            #expect(Self.collect(call).clientGone)
            #expect(ContinuousClock.now - left < .seconds(5))
            #expect(eventually { closed.withLock { $0 } != nil })
            let time = try #require(closed.withLock { $0 })
            #expect(time - left < .seconds(5))
        }
    }

    @Test func aFullUpstreamQueuesInOrderAndRefusesAfterTheWait() async throws {
        try await onThread {
            let release = DispatchSemaphore(value: 0)
            let server = try Self.server { connection, request in
                release.wait()
                Self.stream(connection, request)
            }
            let rig = Rig([server], places: 1)
            let first = rig.send()
            #expect(Self.collect(first, within: .milliseconds(50)).silent)
            let start = ContinuousClock.now
            let refused = Self.collect(rig.send(queueWait: .milliseconds(100)))
            #expect(refused.error?.code == .capacityExceeded && refused.error?.strategy == .capacity && refused.error?.retryAfter != nil)
            #expect(ContinuousClock.now - start < .seconds(5))

            let client = ClientStandIn()
            let leaving = rig.send(client: client)
            client.leave()
            #expect(Self.collect(leaving).clientGone)

            let waiting = (0..<4).map { _ in rig.send(queueWait: .seconds(5)) }
            let over = Self.collect(rig.send())
            #expect(over.error?.code == .capacityExceeded)
            release.signal()
            #expect(Self.collect(first).finished)
            for call in waiting {
                release.signal()
                #expect(Self.collect(call).finished)
                #expect(call.queueTime > .zero)
            }
        }
    }

    @Test func anAddressThatTheOperatorDoesNotAllowIsNotCalled() async throws {
        try await onThread {
            let server = try Self.server(Self.stream)
            #expect(Self.collect(Rig([server], allow: false).send()).error?.code == .upstreamError)
            let secure = Rig([server], allow: false, urls: ["https://localhost:\(server.port)/v1"])
            #expect(Self.collect(secure.send()).error?.code == .upstreamError)
            #expect(server.connections.load(ordering: .relaxed) == 0)
        }
    }

    @Test func aHostIsCalledAtItsVettedAddressesAndNotAtAllWithAPrivateOneAmongThem() async throws {
        try await onThread {
            let server = try Self.server(Self.stream)
            // Nobody but this resolver knows the name, so what connects was pinned.
            for (addresses, finishes) in [
                (["127.0.0.1"], true), (["127.0.0.1", "10.0.0.1"], false), (["127.0.0.1", "fd00::1"], false), ([], false),
            ] {
                let outbound = OutboundGuard(
                    allowHTTP: true, ports: [server.port], allowRanges: [try #require(IPRange("127.0.0.0/8"))],
                    resolve: { _, _ in addresses.compactMap { IPAddress($0) } })
                let before = server.connections.load(ordering: .relaxed)
                let rig = Rig([server], urls: ["http://models.example:\(server.port)/v1"], outbound: outbound)
                let outcome = Self.collect(rig.send())
                #expect(outcome.finished == finishes, "\(addresses)")
                #expect((server.connections.load(ordering: .relaxed) > before) == finishes)
                if !finishes {
                    #expect(outcome.error?.code == (addresses.isEmpty ? .noWorkerAvailable : .upstreamError))
                    #expect(outcome.error.map { !$0.message.contains("127.0") && !$0.message.contains("10.0") } == true)
                }
            }
        }
    }

    @Test func aSickServerIsLeftOutUntilItIsWell() async throws {
        try await onThread {
            let isWell = Atomic(false)
            let server = try RawServer { connection in
                while let request = connection.readRequest() {
                    if request.hasPrefix("GET") {
                        connection.answer(isWell.load(ordering: .relaxed) ? "200 OK" : "500 Sick", "{}")
                    } else {
                        Self.stream(connection, request)
                    }
                }
            }
            let rig = Rig([server], interval: .milliseconds(100))
            #expect(Self.collect(rig.send()).finished)
            #expect(eventually { Self.collect(rig.send()).error?.code == .noWorkerAvailable })
            isWell.store(true, ordering: .relaxed)
            #expect(eventually { Self.collect(rig.send()).finished })
        }
    }

    @Test func twoHundredCallsRunAtOnce() async throws {
        try await onThread {
            let rig = Rig([try Self.server(Self.stream)], places: 64)
            let finished = Atomic(0)
            onThreads(200) { _ in
                for _ in 0..<5 {
                    let outcome = Self.collect(rig.send(queueWait: .seconds(10)))
                    if outcome.finished && outcome.frames.count == 2 { finished.add(1, ordering: .relaxed) }
                }
            }
            #expect(finished.load(ordering: .relaxed) == 1000)
        }
    }

    @Test func thePoolKeepsAnUpstreamUntilItsEndpointChanges() async throws {
        try await onThread {
            let health = UpstreamHealth(interval: .seconds(3600))
            let pool = UpstreamPool(settings: HTTPUpstreamSettings(), health: health) { $0.upstream.maxConcurrent / 2 }
            let first = Self.endpoint(["http://127.0.0.1:1/v1"])
            #expect(pool.upstream(of: first) === pool.upstream(of: first))
            var changed = first
            changed.generation = 2
            let old = pool.upstream(of: first)
            #expect(pool.upstream(of: changed) !== old)
            health.stop()
        }
    }
}
