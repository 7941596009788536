import HTTPClient
import Synchronization
import Testing

/// Answers as servers write them, well and badly, however the network cuts them.
@Suite struct HTTPAnswerTests {
    struct Case: Sendable {
        let answer: String
        let body: String
        var failure: HTTPFailure.Kind?
        /// Whether the connection serves the next request too.
        var isKept = false
    }

    static let cases = [
        Case(answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", body: "hello", isKept: true),
        Case(answer: "HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", body: "hello", isKept: true),
        Case(answer: "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", body: "hello", isKept: true),
        Case(
            answer:
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            body: "ok", isKept: true),
        Case(answer: "HTTP/1.1 204 No Content\r\n\r\n", body: "", isKept: true),
        Case(answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", body: "", isKept: true),
        Case(
            answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n00A\r\n, world ab\r\n0\r\nX-Sum: 1\r\n\r\n",
            body: "hello, world ab", isKept: true),
        Case(answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", body: "hello"),
        Case(answer: "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\nhello", body: "hello"),
        Case(answer: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", body: "hello"),
        Case(answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", body: "hello", isKept: true),
        Case(answer: "HTTP/1.1 200 OK\r\n\r\nuntil the end", body: "until the end"),
        // Bytes after the answer belong to nobody.
        Case(answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n", body: "hello"),
        Case(answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", body: "", failure: .malformed),
        Case(answer: "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", body: "", failure: .malformed),
        Case(answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nFolded: a\r\n b\r\n\r\nhello", body: "", failure: .malformed),
        Case(answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", body: "", failure: .malformed),
        Case(answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", body: "", failure: .malformed),
        Case(answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", body: "he", failure: .malformed),
        Case(answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", body: "", failure: .malformed),
        Case(answer: "HTTP/1.1 101 Switching Protocols\r\n\r\n", body: "", failure: .malformed),
        Case(answer: "HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\nhello", body: "", failure: .malformed),
        Case(answer: "HTTP/1.1 200 OK\r\nX: \(String(repeating: "x", count: 70_000))\r\n\r\n", body: "", failure: .malformed),
        Case(answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", body: "hello", failure: .lost),
    ]

    @Test(arguments: cases, [true, false]) func answersAreReadStrictlyHoweverTheyAreCut(_ test: Case, inSmallPieces: Bool) async throws {
        try await onThread {
            let server = try RawServer { connection in
                guard connection.readRequest() != nil else { return }
                if inSmallPieces && test.answer.utf8.count < 1000 {
                    for byte in test.answer.unicodeScalars { connection.send(String(byte)) }
                } else {
                    connection.send(test.answer)
                }
                // Only kept connections are asked again; the others end here, in order.
                if test.isKept, connection.readRequest() != nil { connection.answer("200 OK", "again") }
            }
            let client = HTTPClient()
            let first = HTTPClientTests.collect(client.start(HTTPClientTests.post(server.origin + "/")))
            #expect(first.body == test.body && first.failure?.kind == test.failure)
            guard test.isKept else { return }
            #expect(HTTPClientTests.collect(client.start(HTTPClientTests.post(server.origin + "/"))).body == "again")
            #expect(server.connections.load(ordering: .relaxed) == 1)
        }
    }

    @Test func anAnswerBeforeTheEndOfALargeBodyIsHeard() async throws {
        try await onThread {
            let server = try RawServer { connection in
                connection.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
                _ = connection.readRequest()
            }
            let body = String(repeating: "y", count: 8 << 20)
            let outcome = HTTPClientTests.collect(HTTPClient().start(HTTPClientTests.post(server.origin + "/", body)))
            #expect(outcome.status == 413 && outcome.body == "big" && outcome.failure == nil)
        }
    }

    @Test(arguments: ["/a b", "/a\r\nX: y", "/\u{7F}"]) func aPathThatWouldBreakTheRequestLineIsNeverSent(_ path: String) async throws {
        try await onThread {
            let server = try RawServer { _ = $0.readRequest() }
            #expect(HTTPClientTests.collect(HTTPClient().start(HTTPClientTests.get(server.origin + path))).failure?.kind == .malformed)
            #expect(server.requests.load(ordering: .relaxed) == 0)
        }
    }
}
