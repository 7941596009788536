import Addresses
import Foundation
import HTTPClient
import Synchronization
import Testing

@Suite(.serialized) struct HTTPClientTests {
    static let headers = HTTPHeaders(["User-Agent: test", "Content-Type: application/json"])

    static func post(_ url: String, _ body: String = "{}") -> HTTPRequest {
        HTTPRequest(.post, url, headers: headers, extraHeader: "X-Request-ID: req_1", body: Array(body.utf8))
    }

    static func get(_ url: String) -> HTTPRequest { HTTPRequest(.get, url, headers: headers) }

    struct Outcome {
        var status = 0
        var type: String?
        var body = ""
        var failure: HTTPFailure?
        var timedOut = false
        var extraReady = false
    }

    static func collect(_ transfer: HTTPTransfer, within limit: Duration = .seconds(10)) -> Outcome {
        var outcome = Outcome()
        let end = ContinuousClock.now + limit
        while true {
            switch transfer.next(until: end) {
            case .head(let head): (outcome.status, outcome.type) = (head.status, head.value(of: "content-type"))
            case .body(let bytes): outcome.body += String(decoding: bytes, as: UTF8.self)
            case .finished: return outcome
            case .failed(let failure):
                outcome.failure = failure
                return outcome
            case .extraDescriptorReady:
                outcome.extraReady = true
                return outcome
            case .timedOut:
                outcome.timedOut = true
                return outcome
            }
        }
    }

    @Test func connectionsAreKeptAndTheRequestIsAsWritten() async throws {
        try await onThread {
            let seen = Mutex<[String]>([])
            let server = try RawServer { connection in
                while let request = connection.readRequest() {
                    seen.withLock { $0.append(request) }
                    connection.send("HTTP/1.1 100 Continue\r\n\r\n")
                    connection.answer("200 OK", "{\"a\":1}")
                }
            }
            let client = HTTPClient()
            for _ in 0..<3 {
                let outcome = Self.collect(client.start(Self.post(server.origin + "/v1/x", "{\"b\":2}")))
                #expect(outcome.status == 200 && outcome.type == "application/json" && outcome.body == "{\"a\":1}")
            }
            #expect(server.connections.load(ordering: .relaxed) == 1)
            let request = try #require(seen.withLock { $0.first })
            #expect(request.hasPrefix("POST /v1/x HTTP/1.1\r\n") && request.hasSuffix("\r\n\r\n{\"b\":2}"))
            #expect(request.contains("X-Request-ID: req_1\r\n") && request.contains("User-Agent: test\r\n") && !request.contains("Expect"))
        }
    }

    @Test(arguments: [true, false]) func aStaleKeptConnectionIsReplacedUnseen(byReset: Bool) async throws {
        try await onThread {
            let server = try RawServer { connection in
                guard connection.readRequest() != nil else { return }
                connection.answer("200 OK", "one")
                // Closes without a word, after the client has begun to think it may use it again.
                if connection.readRequest() == nil { return }
                if byReset { connection.reset() } else { connection.end() }
            }
            let client = HTTPClient()
            #expect(Self.collect(client.start(Self.post(server.origin + "/"))).body == "one")
            let second = Self.collect(client.start(Self.post(server.origin + "/")))
            #expect(second.failure == nil && second.body == "one")
            #expect(server.connections.load(ordering: .relaxed) == 2)
        }
    }

    @Test func aConnectionClosedWhileIdleIsReplacedUnseen() async throws {
        try await onThread {
            let server = try RawServer { connection in
                guard connection.readRequest() != nil else { return }
                connection.answer("200 OK", "one")
            }
            let client = HTTPClient()
            for _ in 0..<3 {
                let outcome = Self.collect(client.start(Self.post(server.origin + "/")))
                #expect(outcome.failure == nil && outcome.body == "one")
                usleep(20_000)
            }
        }
    }

    @Test func failuresHaveTheirKinds() async throws {
        try await onThread {
            let closed = try RawServer { _ in }
            closed.stop()
            #expect(Self.collect(HTTPClient().start(Self.post(closed.origin + "/"))).failure?.kind == .cannotConnect)
            #expect(Self.collect(HTTPClient().start(Self.post("http://no-such-host.invalid/"))).failure?.kind == .cannotConnect)
            #expect(Self.collect(HTTPClient().start(Self.post("ftp://127.0.0.1/"))).failure?.kind == .malformed)

            let reset = try RawServer { connection in
                _ = connection.readRequest()
                connection.reset()
            }
            #expect(Self.collect(HTTPClient().start(Self.post(reset.origin + "/"))).failure?.kind == .lost)

            let short = try RawServer { connection in
                _ = connection.readRequest()
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            }
            let shortOutcome = Self.collect(HTTPClient().start(Self.post(short.origin + "/")))
            #expect(shortOutcome.body == "abc" && shortOutcome.failure?.kind == .lost)

            let unchunked = try RawServer { connection in
                _ = connection.readRequest()
                connection.startStream()
                connection.sendChunk("abc")
            }
            let cut = Self.collect(HTTPClient().start(Self.post(unchunked.origin + "/")))
            #expect(cut.body == "abc" && cut.failure?.kind == .lost)

            let nonsense = try RawServer { connection in
                _ = connection.readRequest()
                connection.send("hello\r\n")
            }
            #expect(Self.collect(HTTPClient().start(Self.post(nonsense.origin + "/"))).failure?.kind == .malformed)

            let plain = try RawServer { $0.send("hello\r\n") }
            #expect(Self.collect(HTTPClient().start(Self.post("https://\(plain.authority)/"))).failure?.kind == .untrusted)
        }
    }

    @Test func anAddressThatIsNotAllowedIsNeverConnectedTo() async throws {
        try await onThread {
            let server = try RawServer { _ in }
            var settings = HTTPClientSettings()
            settings.isAllowed = { $0.isPublic }
            #expect(Self.collect(HTTPClient(settings).start(Self.post(server.origin + "/"))).failure?.kind == .blocked)
            #expect(Self.collect(HTTPClient(settings).start(Self.post("http://localhost:\(server.port)/"))).failure?.kind == .blocked)
            usleep(50_000)
            #expect(server.connections.load(ordering: .relaxed) == 0)
        }
    }

    @Test(arguments: [
        "127.0.0.1", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.31.0.1", "192.168.1.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
        "::1",
        "::", "fc00::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
    ])
    func closedAddressesAreNotPublic(text: String) { #expect(IPAddress(text)?.isPublic == false) }

    @Test(arguments: ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"])
    func otherAddressesArePublic(text: String) { #expect(IPAddress(text)?.isPublic == true) }

    @Test func onlyCertificatesOfTrustedAuthoritiesForTheNameAreAccepted() async throws {
        try await onThread {
            let server = try TLSServer()
            var settings = HTTPClientSettings()
            settings.authorities = CertificateAuthorities(file: server.certificate)
            for _ in 0..<2 {
                let trusted = Self.collect(HTTPClient(settings).start(Self.get("https://localhost:\(server.port)/")))
                #expect(trusted.status == 200 && trusted.failure == nil)
            }
            let otherName = Self.collect(HTTPClient(settings).start(Self.get("https://127.0.0.1:\(server.port)/")))
            #expect(otherName.failure?.kind == .untrusted)
            let unknown = Self.collect(HTTPClient().start(Self.get("https://localhost:\(server.port)/")))
            #expect(unknown.failure?.kind == .untrusted)
        }
    }

    @Test func theExtraDescriptorEndsTheWaitAndCancelClosesAtOnce() async throws {
        try await onThread {
            let closed = Mutex<ContinuousClock.Instant?>(nil)
            let server = try RawServer { connection in
                _ = connection.readRequest()
                if connection.waitForClose() { closed.withLock { $0 = .now } }
            }
            let standIn = ClientStandIn()
            let transfer = HTTPClient().start(Self.post(server.origin + "/"), extraDescriptor: standIn.descriptor)
            #expect(Self.collect(transfer, within: .milliseconds(50)).timedOut)
            let left = ContinuousClock.now
            standIn.leave()
            #expect(Self.collect(transfer).extraReady)
            transfer.cancel()
            #expect(eventually { closed.withLock { $0 } != nil })
            let time = try #require(closed.withLock { $0 })
            #expect(time - left < .seconds(5))
        }
    }

    @Test func aSlowReaderStopsTheSender() async throws {
        try await onThread {
            let sent = Atomic(0)
            let server = try RawServer { connection in
                _ = connection.readRequest()
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(64 << 20)\r\n\r\n")
                let block = String(repeating: "x", count: 1 << 16)
                for _ in 0..<1024 {
                    guard connection.send(block) else { return }
                    sent.add(block.utf8.count, ordering: .relaxed)
                }
            }
            let transfer = HTTPClient().start(Self.post(server.origin + "/"))
            let end = ContinuousClock.now + .seconds(10)
            guard case .head = transfer.next(until: end), case .body = transfer.next(until: end) else {
                return #expect(Bool(false), "no answer")
            }
            usleep(300_000)
            #expect(sent.load(ordering: .relaxed) < 16 << 20)
            #expect(Self.collect(transfer).failure == nil)
            #expect(sent.load(ordering: .relaxed) == 64 << 20)
        }
    }

    @Test func largeBodiesGoOut() async throws {
        try await onThread {
            let server = try RawServer { connection in
                while let request = connection.readRequest() { connection.answer("200 OK", "\(request.utf8.count)") }
            }
            let client = HTTPClient()
            for size in [0, 1, 60_000, 70_000, 3 << 20] {
                let outcome = Self.collect(
                    client.start(Self.post(server.origin + "/", String(repeating: "y", count: size))), within: .seconds(60))
                #expect((Int(outcome.body) ?? 0) > size, "\(outcome)")
            }
            #expect(server.connections.load(ordering: .relaxed) == 1)
        }
    }

    @Test func twoThousandOpenStreamsAreSmall() async throws {
        try await onThread {
            var limit = rlimit(rlim_cur: 0, rlim_max: 0)
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            limit.rlim_cur = limit.rlim_max
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            let server = try RawServer { connection in
                _ = connection.readRequest()
                connection.startStream()
                connection.sendChunk("data: 1\n\n")
                _ = connection.waitForClose(.seconds(60))
            }
            // Other tests take memory in this process meanwhile, and give it back: one quiet part of three will do. All stay open.
            let client = HTTPClient()
            var transfers: [HTTPTransfer] = []
            let parts = try (0..<3).map { _ in try Self.kilobytes(ofEachOf: 700, from: server.origin, by: client, &transfers) }
            print("resident memory for each open stream, both sides: \(parts) KiB")
            #expect(parts.min() ?? .max < 100)
        }
    }

    /// Opens streams; answers the resident memory of each, and of the thread that serves it.
    private static func kilobytes(ofEachOf count: Int, from origin: String, by client: HTTPClient, _ transfers: inout [HTTPTransfer]) throws
        -> Int
    {
        let before = residentKilobytes()
        for _ in 0..<count {
            let transfer = client.start(post(origin + "/"))
            let end = ContinuousClock.now + .seconds(5)
            guard case .head = transfer.next(until: end), case .body = transfer.next(until: end) else {
                throw StreamDidNotStart(number: transfers.count)
            }
            transfers.append(transfer)
        }
        return (residentKilobytes() - before) / count
    }

    private struct StreamDidNotStart: Error { var number: Int }
}

private func residentKilobytes() -> Int {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return 0 }
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    return Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0
}
