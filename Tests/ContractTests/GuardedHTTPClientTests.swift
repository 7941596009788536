import Addresses
import Foundation
import HTTPClient
import Synchronization
import Testing

/// The guarded client against servers on this machine, whose loopback addresses the guard is told to allow.
@Suite(.serialized) struct GuardedHTTPClientTests {
    /// Names that nobody but the test knows; what connects by them was pinned.
    final class Names: Sendable {
        private let answers: Mutex<[String: [[String]]]>
        let asked = Mutex<[String]>([])

        init(_ answers: [String: [[String]]]) { self.answers = Mutex(answers) }

        /// The answers of a name in turn; the last one goes on.
        func resolve(_ host: String, _ limit: Duration) -> [IPAddress] {
            asked.withLock { $0.append(host) }
            return answers.withLock { answers in
                guard let first = answers[host]?.first else { return [] }
                if answers[host]?.count ?? 0 > 1 { answers[host]?.removeFirst() }
                return first.compactMap { IPAddress($0) }
            }
        }
    }

    static func outbound(_ servers: [RawServer], _ names: Names = Names([:])) -> OutboundGuard {
        OutboundGuard(allowHTTP: true, ports: servers.map(\.port), allowRanges: [IPRange("127.0.0.1/32")!], resolve: names.resolve)
    }

    static func client(_ servers: [RawServer], _ names: Names = Names([:]), _ change: (inout OutboundLimits) -> Void = { _ in })
        -> GuardedHTTPClient
    {
        var limits = OutboundLimits()
        limits.total = .seconds(10)
        change(&limits)
        return GuardedHTTPClient(outbound(servers, names), limits: limits)
    }

    /// A server that answers each request by its path, and what it was asked.
    final class Scripted: Sendable {
        let server: RawServer
        let requests: Log

        final class Log: Sendable {
            private let texts = Mutex<[String]>([])
            func add(_ text: String) { texts.withLock { $0.append(text) } }
            var all: [String] { texts.withLock { $0 } }
        }

        init(_ answer: @escaping @Sendable (_ path: String, RawConnection) -> Void) throws {
            let log = Log()
            requests = log
            server = try RawServer { connection in
                while let request = connection.readRequest() {
                    log.add(request)
                    answer(request.split(separator: " ").dropFirst().first.map(String.init) ?? "", connection)
                }
            }
        }
    }

    static func redirect(_ connection: RawConnection, _ status: Int, to location: String) {
        connection.answer("\(status) Elsewhere", headers: "Location: \(location)\r\n", "")
    }

    static func refusal(_ body: () throws -> some Any) -> OutboundRefusal? {
        do {
            _ = try body()
            return nil
        } catch {
            return error as? OutboundRefusal
        }
    }

    static func isBlocked(_ refusal: OutboundRefusal?) -> Bool { if case .blocked = refusal { true } else { false } }

    @Test func aCallGoesToTheVettedAddressUnderTheHostsName() async throws {
        try await onThread {
            let scripted = try Scripted { _, connection in connection.answer("201 Made", "{\"a\":1}") }
            let names = Names(["api.example": [["127.0.0.1"]]])
            let client = Self.client([scripted.server], names)
            let answer = try client.send(
                OutboundRequest(
                    .post, "http://api.example:\(scripted.server.port)/v1/x?y", headers: [("Authorization", "Bearer k"), ("X-Empty", "")],
                    body: Array("{}".utf8)), for: "p")
            #expect(answer.status == 201 && String(decoding: answer.body, as: UTF8.self) == "{\"a\":1}")
            let request = try #require(scripted.requests.all.first)
            #expect(request.hasPrefix("POST /v1/x?y HTTP/1.1\r\nHost: api.example:\(scripted.server.port)\r\n"))
            #expect(request.contains("Authorization: Bearer k\r\n") && request.contains("X-Empty:\r\n") && request.hasSuffix("\r\n\r\n{}"))
            #expect(names.asked.withLock { $0 } == ["api.example"])
        }
    }

    @Test(arguments: [["127.0.0.1", "10.0.0.7"], ["10.0.0.7", "127.0.0.1"], ["127.0.0.1", "::1"], ["127.0.0.2"]])
    func aPrivateAddressAmongTheAnswersIsNeverConnectedTo(addresses: [String]) async throws {
        try await onThread {
            let scripted = try Scripted { _, connection in connection.answer("200 OK", "x") }
            let client = Self.client([scripted.server], Names(["rebind.example": [addresses]]))
            let refusal = Self.refusal {
                try client.send(OutboundRequest(.get, "http://rebind.example:\(scripted.server.port)/"), for: "p")
            }
            #expect(Self.isBlocked(refusal))
            for address in addresses { #expect(!"\(String(describing: refusal))".contains(address)) }
            usleep(20_000)
            #expect(scripted.server.connections.load(ordering: .relaxed) == 0)
        }
    }

    @Test func aNameThatChangesItsMindIsNotAskedTwiceForOneConnection() async throws {
        try await onThread {
            let scripted = try Scripted { _, connection in connection.answer("200 OK", "x") }
            let names = Names(["flip.example": [["127.0.0.1"], ["10.0.0.7"]]])
            let client = Self.client([scripted.server], names)
            let request = OutboundRequest(.get, "http://flip.example:\(scripted.server.port)/")
            #expect(try client.send(request, for: "p").status == 200)
            // The next call asks again, and hears of the private address.
            #expect(Self.isBlocked(Self.refusal { try client.send(request, for: "p") }))
            #expect(names.asked.withLock { $0.count } == 2 && scripted.requests.all.count == 1)
        }
    }

    @Test func threeRedirectsAreFollowedAndNotFour() async throws {
        try await onThread {
            let scripted = try Scripted { path, connection in
                let left = Int(path.dropFirst()) ?? 0
                if left > 0 { Self.redirect(connection, 302, to: "/\(left - 1)") } else { connection.answer("200 OK", "end") }
            }
            let client = Self.client([scripted.server])
            let answer = try client.send(OutboundRequest(.get, scripted.server.origin + "/3"), for: "p")
            #expect(answer.status == 200 && answer.url.target == "/0")
            #expect(Self.refusal { try client.send(OutboundRequest(.get, scripted.server.origin + "/4"), for: "p") } == .tooManyRedirects)
            #expect(scripted.requests.all.count == 8)
        }
    }

    @Test func everyRedirectIsCheckedFromTheStart() async throws {
        try await onThread {
            let inside = try Scripted { _, connection in connection.answer("200 OK", "secret") }
            let targets = [
                "http://127.0.0.2:\(inside.server.port)/", "http://[::1]:\(inside.server.port)/",
                "http://2130706433:\(inside.server.port)/",
                "http://0x7f.1:\(inside.server.port)/", "//localhost:\(inside.server.port)/",
                "http://inside.example:\(inside.server.port)/",
                "http://user@127.0.0.1:\(inside.server.port)/", "http://127.0.0.1:22/", "ftp://127.0.0.1/", "file:///etc/passwd", "http://",
            ]
            let scripted = try Scripted { path, connection in Self.redirect(connection, 307, to: targets[Int(path.dropFirst()) ?? 0]) }
            let client = Self.client([scripted.server, inside.server], Names(["inside.example": [["10.0.0.1", "127.0.0.1"]]]))
            for (number, target) in targets.enumerated() {
                let refusal = Self.refusal { try client.send(OutboundRequest(.get, "\(scripted.server.origin)/\(number)"), for: "p") }
                #expect(Self.isBlocked(refusal), "\(target): \(String(describing: refusal))")
            }
            #expect(inside.server.connections.load(ordering: .relaxed) == 0)
        }
    }

    @Test func credentialsStayWithTheirOrigin() async throws {
        try await onThread {
            let other = try Scripted { _, connection in connection.answer("200 OK", "x") }
            let scripted = try Scripted { path, connection in
                Self.redirect(connection, 307, to: path == "/away" ? "\(other.server.origin)/end" : "/away")
            }
            let client = Self.client([scripted.server, other.server])
            let headers = [("Authorization", "Bearer secret"), ("X-Api-Key", "secret"), ("Accept", "text/plain")]
            #expect(try client.send(OutboundRequest(.get, "\(scripted.server.origin)/near", headers: headers), for: "p").status == 200)
            #expect(
                scripted.requests.all.count == 2
                    && scripted.requests.all.allSatisfy { $0.contains("Bearer secret") && $0.contains("X-Api-Key") })
            let last = try #require(other.requests.all.first)
            #expect(!last.lowercased().contains("secret") && last.contains("Accept: text/plain"))
        }
    }

    @Test(arguments: [(301, "GET", ""), (302, "GET", ""), (303, "GET", ""), (307, "POST", "body"), (308, "POST", "body")])
    func aPostBecomesAGetWhereHTTPSaysSo(status: Int, method: String, body: String) async throws {
        try await onThread {
            let scripted = try Scripted { path, connection in
                if path == "/" { Self.redirect(connection, status, to: "/next") } else { connection.answer("200 OK", "x") }
            }
            _ = try Self.client([scripted.server]).send(OutboundRequest(.post, scripted.server.origin, body: Array("body".utf8)), for: "p")
            let last = try #require(scripted.requests.all.last)
            #expect(last.hasPrefix("\(method) /next ") && last.hasSuffix("\r\n\r\n\(body)"), "\(last)")
        }
    }

    static func gzip(_ bytes: Data) throws -> [UInt8] {
        let path = "/tmp/xg\(UInt32.random(in: 0...UInt32.max))"
        try bytes.write(to: URL(fileURLWithPath: path))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/gzip")
        process.arguments = [path]
        try process.run()
        process.waitUntilExit()
        defer { unlink(path + ".gz") }
        return Array(try Data(contentsOf: URL(fileURLWithPath: path + ".gz")))
    }

    @Test(arguments: [true, false]) func aSmallAnswerThatUnpacksBeyondBeliefIsRefused(isChunked: Bool) async throws {
        try await onThread {
            // 64 KiB of zeros are under the limit of bytes, but 400 times what came; 64 MiB are over both.
            let honest = try Self.gzip(Data((0..<5_000).flatMap { Array("line \($0 * 7919)\n".utf8) }))
            let bodies = [try Self.gzip(Data(count: 1 << 16)), try Self.gzip(Data(count: 64 << 20)), honest]
            let scripted = try Scripted { path, connection in
                let body = bodies[Int(path.dropFirst()) ?? 0]
                if isChunked {
                    connection.send(
                        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\(String(body.count, radix: 16))\r\n"
                    )
                    connection.send(body)
                    connection.send("\r\n0\r\n\r\n")
                } else {
                    connection.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(body.count)\r\n\r\n")
                    connection.send(body)
                }
            }
            let client = Self.client([scripted.server])
            for number in [0, 1] {
                #expect(
                    Self.refusal { try client.send(OutboundRequest(.get, "\(scripted.server.origin)/\(number)"), for: "p") }
                        == .answerTooLarge)
            }
            let answer = try client.send(OutboundRequest(.get, "\(scripted.server.origin)/2"), for: "p")
            #expect(answer.body.count > 50_000 && answer.body.starts(with: "line 0\nline 7919\n".utf8))
        }
    }

    @Test func anAnswerOverTheLimitIsRefusedAndOneAtTheLimitIsNot() async throws {
        try await onThread {
            let scripted = try Scripted { path, connection in
                connection.answer("200 OK", String(repeating: "x", count: Int(path.dropFirst()) ?? 0))
            }
            let client = Self.client([scripted.server]) { $0.bytes = 100_000 }
            #expect(try client.send(OutboundRequest(.get, "\(scripted.server.origin)/100000"), for: "p").body.count == 100_000)
            #expect(
                Self.refusal { try client.send(OutboundRequest(.get, "\(scripted.server.origin)/100001"), for: "p") } == .answerTooLarge)
        }
    }

    @Test func aSlowServerIsGivenUpAlsoWhileItTrickles() async throws {
        try await onThread {
            let scripted = try Scripted { _, connection in
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while connection.send("x") { usleep(20_000) }
            }
            let began = ContinuousClock.now
            let client = Self.client([scripted.server]) { $0.total = .milliseconds(300) }
            #expect(Self.refusal { try client.send(OutboundRequest(.get, scripted.server.origin), for: "p") } == .timedOut)
            #expect(.now - began < .seconds(3))
        }
    }

    @Test func aProjectHasOnlySoManyCallsAtOnce() async throws {
        try await onThread {
            let release = DispatchSemaphore(value: 0)
            let scripted = try Scripted { path, connection in
                if path == "/slow" { release.wait() }
                connection.answer("200 OK", "x")
            }
            let client = Self.client([scripted.server]) { $0.concurrent = 2 }
            let slow = OutboundRequest(.get, "\(scripted.server.origin)/slow")
            let done = Atomic(0)
            for _ in 0..<2 {
                Thread {
                    if (try? client.send(slow, for: "p"))?.status == 200 { done.add(1, ordering: .relaxed) }
                }.start()
            }
            #expect(eventually { scripted.requests.all.count == 2 })
            let quick = OutboundRequest(.get, "\(scripted.server.origin)/quick")
            #expect(Self.refusal { try client.send(quick, for: "p") } == .tooManyAtOnce)
            #expect(try client.send(quick, for: "q").status == 200)
            (0..<2).forEach { _ in release.signal() }
            #expect(eventually { done.load(ordering: .relaxed) == 2 })
            #expect(try client.send(quick, for: "p").status == 200)
        }
    }

    @Test(arguments: [("Host", "x"), ("Cookie", "a=b"), ("X-Forwarded-For", "1.2.3.4"), ("X-A", "b\r\nX-Evil: 1"), ("X-A\r\nX-Evil", "1")])
    func aForbiddenHeaderSendsNothing(name: String, value: String) async throws {
        try await onThread {
            let scripted = try Scripted { _, connection in connection.answer("200 OK", "x") }
            let refusal = Self.refusal {
                try Self.client([scripted.server]).send(OutboundRequest(.get, scripted.server.origin, headers: [(name, value)]), for: "p")
            }
            guard case .header = refusal else { return #expect(Bool(false), "\(String(describing: refusal))") }
            #expect(scripted.server.connections.load(ordering: .relaxed) == 0)
        }
    }

    @Test func aCertificateIsCheckedAgainstTheNameAndNotTheAddress() async throws {
        try await onThread {
            let server = try TLSServer()
            let names = Names(["localhost.example": [["127.0.0.1"]]])
            let outbound = OutboundGuard(
                ports: [server.port], allowRanges: [IPRange("127.0.0.1/32")!], allowHosts: ["localhost:\(server.port)"],
                resolve: names.resolve
            )
            let client = GuardedHTTPClient(outbound, authorities: CertificateAuthorities(file: server.certificate))
            #expect(try client.send(OutboundRequest(.get, "https://localhost:\(server.port)/"), for: "p").status == 200)
            #expect(
                Self.refusal { try client.send(OutboundRequest(.get, "https://localhost.example:\(server.port)/"), for: "p") }
                    == .unreachable(.untrusted))
        }
    }
}
