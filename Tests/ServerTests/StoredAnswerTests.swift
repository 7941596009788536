import OpenAI
import Server
import Testing

@Suite struct StoredAnswerTests {
    static let principal = Principal(projectID: .random(), projectSlug: "acme", keyID: .random(), scopes: [.inference])

    static func key(
        _ text: String = "k", method: String = "POST", path: String = "/v1/a", body: String = "{}", of principal: Principal = principal
    ) throws -> IdempotencyKey {
        try IdempotencyKey(text, method: method, path: path, body: Array(body.utf8), of: principal)
    }

    @Test func anAnswerComesBackAsItWas() throws {
        let body = Array("{\"a\":\"\r\n\r\n\"}".utf8)
        let response = Response.json(
            body, status: 201, headers: [("X-Xerotier-Clamped", "a, b: c"), ("X-RateLimit-Limit", "9"), ("X-Bad", "a\r\nb")])
        let stored = try #require(StoredAnswer.encode(response))
        let replayed = try #require(StoredAnswer.decode(stored, status: 201, requestID: "req_1"))
        #expect(replayed.status == 201 && replayed.requestID == "req_1")
        guard case .bytes(let bytes) = replayed.body else { return #expect(Bool(false), "no bytes") }
        #expect(bytes == body)
        #expect(
            replayed.headers.map { "\($0.name): \($0.value)" } == [
                "Content-Type: application/json", "X-Xerotier-Clamped: a, b: c", "X-Bad: a  b", "Idempotent-Replayed: true",
            ])
    }

    @Test(arguments: [200, 201, 204, 400, 402, 404, 413, 422])
    func theseAreStored(status: Int) { #expect(StoredAnswer.encode(.json([], status: status)) != nil) }

    @Test(arguments: [301, 401, 403, 408, 409, 429, 500, 502, 503, 504])
    func theseGiveTheKeyBack(status: Int) { #expect(StoredAnswer.encode(.json([], status: status)) == nil) }

    @Test func damagedBytesAreNoAnswer() {
        #expect(StoredAnswer.decode([], status: 200, requestID: "") == nil)
        #expect(StoredAnswer.decode(Array("no colon\r\n\r\n".utf8), status: 200, requestID: "") == nil)
        #expect(StoredAnswer.decode(Array("A: b\r\n".utf8), status: 200, requestID: "") == nil)
    }

    @Test(arguments: ["", String(repeating: "a", count: 256), "a\u{1}", "tab\there", "del\u{7F}", "é", "日本", "line\n"])
    func aBadKeyIsNamed(text: String) throws {
        let error = #expect(throws: APIError.self) { try Self.key(text) }
        #expect(error?.code == .invalidValue && error?.param == "Idempotency-Key")
    }

    @Test func theScopeIsProjectKeyMethodPathAndKey() throws {
        let own = try Self.key().scope
        #expect(own.utf8.count == 43)
        #expect(try Self.key(body: "[]").scope == own)
        #expect(try Self.key(body: "[]").fingerprint != Self.key().fingerprint)
        let other = Principal(projectID: Self.principal.projectID, projectSlug: "acme", keyID: .random(), scopes: [.inference])
        let others = [
            try Self.key("k2"), try Self.key(method: "PUT"), try Self.key(path: "/v1/b"), try Self.key("k", path: "/v1/a ", body: "{}"),
            try Self.key(of: other),
        ]
        for key in others { #expect(key.scope != own) }
        #expect(try Self.key(String(repeating: "~", count: 255)).scope != own)
    }
}
