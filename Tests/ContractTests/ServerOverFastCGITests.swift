import FastCGI
import Foundation
import JSON
import OpenAI
import Server
import Testing
import Threads

/// A server with a few routes behind FastCGI, and keys that say what they may.
private final class ServerBench: Sendable {
    struct Keys: Authenticator {
        static let project = ID<Project>("proj_0123456789abcdefghijklmn")!

        func principal(bearer key: String) throws -> Principal {
            let pin = key == "pinned" ? "chat" : nil
            switch key {
            case "good", "pinned":
                return Principal(
                    projectID: Self.project, projectSlug: "acme", keyID: .random(), scopes: [.inference], endpointPin: pin)
            case "other": return Principal(projectID: Self.project, projectSlug: "acme", keyID: .random(), scopes: [.management])
            case "away": throw APIError.unavailable()
            default: throw APIError(.authenticationError, "Incorrect API key provided.")
            }
        }

        func projectID(named segment: String) throws -> ID<Project>? { segment == "neighbour" ? .random() : nil }
    }

    struct Secret: Error { var password = "hunter2" }

    let front: FrontBench
    let running: RunningFront
    let dispatched: Monitor<[String]>
    let logPath: String

    init(threads: Int = 2, cors: CrossOrigin? = nil) throws {
        let dispatched = Monitor<[String]>([])
        let bench = try FrontBench()
        let handler: Handler = { request, context in
            dispatched.change { $0.append(String(decoding: request.body, as: UTF8.self)) }
            if request.query["fail"] != nil { throw Secret() }
            var json = JSONWriter()
            json.string(request.query["q"])
            return .json(json.bytes, headers: [("X-Echo", request.query["q"] ?? "none")])
        }
        let routes = [
            Route(.post, "things", .all, .inference, meter: .usage(.chat), bodyLimit: 1000, handler),
            Route(.get, "things", .all, .inference, meter: .none, handler),
            Route(.get, "open", .root, .open, meter: .none, handler),
        ]
        logPath = bench.path + ".log"
        let services = Services(parser: JSONParser(), metrics: Metrics(), logger: quiet, timeScale: 1)
        let server = Server(
            routes: routes, authenticator: Keys(), services: services, accessLog: try AccessLog(path: logPath), crossOrigin: cors)
        front = bench
        self.dispatched = dispatched
        running = bench.serve(threads: threads) { server.handle($0) }
        let logPath = logPath
        AtExit.add { unlink(logPath) }
    }

    var logLines: [[String: Any]] {
        let text = (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").compactMap { try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
    }
}

@Suite struct ServerOverFastCGITests {
    private static let good = ("HTTP_AUTHORIZATION", "Bearer good")

    private static func error(_ answer: FastCGIClient.Answer) -> [String: Any] {
        let object = try? JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any]
        return object?["error"] as? [String: Any] ?? [:]
    }

    @Test func theFirstFailedCheckWinsAndNothingIsDispatched() async throws {
        try await onThread {
            let bench = try ServerBench()
            let client = try bench.front.connect()
            let body = Array("{}".utf8)
            let large = [UInt8](repeating: 32, count: 1001)
            func expect(_ answer: FastCGIClient.Answer, _ status: Int, _ code: String, line: Int = #line) {
                #expect(answer.status == status && Self.error(answer)["code"] as? String == code, "line \(line): \(answer.head)")
                #expect(answer.header("X-Request-ID") == Self.error(answer)["x_request_id"] as? String)
                #expect(answer.header("Content-Length") == "\(answer.body.count)")
            }
            expect(try client.get("/v1/nothing"), 404, "not_found")
            let wrongMethod = try client.call([("REQUEST_METHOD", "PUT"), ("REQUEST_URI", "/v1/things")], [])
            expect(wrongMethod, 405, "method_not_allowed")
            #expect(wrongMethod.header("Allow") == "GET, POST")
            expect(try client.post("/v1/things", large), 413, "request_too_large")
            expect(
                try client.call([("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/v1/things"), Self.good], large), 413, "request_too_large")
            expect(try client.post("/v1/things", body), 401, "authentication_error")
            for text in ["", "good", "Basic good", "Bearer", "Bearer bad", "Bearer  "] {
                expect(try client.get("/v1/things", [("HTTP_AUTHORIZATION", text)]), 401, "authentication_error")
            }
            let away = try client.get("/v1/things", [("HTTP_AUTHORIZATION", "Bearer away")])
            expect(away, 503, "service_unavailable")
            #expect(away.header("Retry-After") == "1")
            expect(try client.get("/nobody/v1/things", [Self.good]), 404, "project_not_found")
            expect(try client.get("/neighbour/v1/things", [Self.good]), 403, "cross_project_access")
            expect(try client.get("/v1/things", [("HTTP_AUTHORIZATION", "Bearer other")]), 403, "scope_insufficient")
            expect(try client.get("/acme/x/v1/things", [("HTTP_AUTHORIZATION", "bearer pinned")]), 403, "endpoint_mismatch")
            let text = [("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/v1/things"), ("CONTENT_TYPE", "text/plain"), Self.good]
            expect(try client.call(text, body), 415, "unsupported_media_type")
            #expect(bench.dispatched.withLock { $0 } == [])
            #expect(try client.post("/v1/things", body, [Self.good]).status == 200)
            #expect(try client.get("/acme/chat/v1/things", [("HTTP_AUTHORIZATION", "bearer pinned")]).status == 200)
            #expect(try client.get("/\(ServerBench.Keys.project)/v1/things/", [Self.good]).status == 200)
            #expect(try client.get("/open").status == 200)
            client.leave()
            bench.running.end()
        }
    }

    /// One endpoint `acme/chat`, open to one page.
    private struct Pages: CrossOriginPolicies, CrossOriginPolicy {
        func policy(project: String, endpoint: String) -> (any CrossOriginPolicy)? { project == "acme" && endpoint == "chat" ? self : nil }
        func allowedOrigin(for origin: String) -> String? { origin == "https://a.example" ? origin : nil }
        func allows(method: String) -> Bool { method == "GET" }
        func allows(headers names: String) -> Bool { names == "authorization" || names.isEmpty }
        let methodList = "GET"
        let headerList = "Authorization"
        let maxAge = 60
        let allowCredentials = true
    }

    /// Names and values of the headers for browsers, in the order in which they came.
    private static func cors(_ answer: FastCGIClient.Answer) -> [String] {
        answer.head.components(separatedBy: "\r\n").filter {
            $0.hasPrefix("Access-Control-") || $0.hasPrefix("X-Cors-") || $0.hasPrefix("Vary")
        }
        .filter { !$0.contains("Expose") }
    }

    @Test(arguments: [CrossOrigin.Mode.proxy, .own])
    func browsersAreToldByTheServerOrByNginxAndNeverByBoth(mode: CrossOrigin.Mode) async throws {
        try await onThread {
            let bench = try ServerBench(cors: CrossOrigin(Pages(), mode: mode))
            let client = try bench.front.connect()
            let page = ("HTTP_ORIGIN", "https://a.example")
            let always = mode == .own ? ["Vary: Origin"] : []
            let allowed =
                mode == .own
                ? always + ["Access-Control-Allow-Origin: https://a.example", "Access-Control-Allow-Credentials: true"]
                : ["X-Cors-Origin: https://a.example", "X-Cors-Credentials: true"]
            for path in ["/acme/chat/v1/things?q=1", "/acme/chat/v1/things?fail=1", "/acme/chat/v1/nothing"] {
                for key in [("HTTP_AUTHORIZATION", "Bearer good"), ("HTTP_AUTHORIZATION", "Bearer bad")] {
                    #expect(Self.cors(try client.get(path, [page, key])) == allowed)
                    #expect(Self.cors(try client.get(path, [("HTTP_ORIGIN", "https://b.example"), key])) == always)
                    #expect(Self.cors(try client.get(path, [key])) == always)
                }
            }
            for path in ["/v1/things", "/acme/v1/things", "/acme/other/v1/things", "/open"] {
                #expect(Self.cors(try client.get(path, [page, Self.good])) == always)
            }
            func preflight(_ headers: [(String, String)], _ path: String = "/acme/chat/v1/things") throws -> FastCGIClient.Answer {
                try client.call([("REQUEST_METHOD", "OPTIONS"), ("REQUEST_URI", path)] + headers, [])
            }
            let asked = [
                page, ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "GET"), ("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "authorization"),
            ]
            let answer = try preflight(asked)
            #expect(answer.status == 204 && answer.header("Content-Length") == nil)
            #expect(
                Set(Self.cors(answer))
                    == Set(
                        always + [
                            "Access-Control-Allow-Origin: https://a.example", "Access-Control-Allow-Methods: GET",
                            "Access-Control-Allow-Headers: Authorization", "Access-Control-Max-Age: 60",
                            "Access-Control-Allow-Credentials: true",
                        ]))
            let refused = [
                try preflight([page, ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "POST")]),
                try preflight([page, ("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "x-mine")]), try preflight([("HTTP_ORIGIN", "null")]),
                try preflight(asked, "/acme/v1/things"),
            ]
            for answer in refused { #expect(answer.status == 403 && Self.cors(answer) == always) }
            #expect(try preflight([]).status == 405)
            client.leave()
            bench.running.end()
        }
    }

    @Test func nginxHasItsErrorsRenderedForPages() async throws {
        try await onThread {
            let bench = try ServerBench(cors: CrossOrigin(Pages(), mode: .proxy))
            let client = try bench.front.connect()
            for (name, status, code) in [
                ("too-large", 413, "request_too_large"), ("headers-too-large", 431, "request_too_large"), ("not-found", 404, "not_found"),
                ("method-not-allowed", 405, "method_not_allowed"), ("unavailable", 503, "service_unavailable"),
                ("timeout", 504, "gateway_timeout"), ("internal", 500, "internal_error"),
            ] {
                let answer = try client.get(
                    "/acme/chat/v1/things", [("HTTP_ORIGIN", "https://a.example"), ("XEROTIER_ERROR", name), Self.good])
                #expect(answer.status == status && Self.error(answer)["code"] as? String == code)
                #expect(answer.header("X-Cors-Origin") == "https://a.example")
            }
            #expect(bench.dispatched.withLock { $0 } == [])
            client.leave()
            bench.running.end()
        }
    }

    @Test func headersOverTheLimitsAre431() async throws {
        try await onThread {
            let bench = try ServerBench()
            let client = try bench.front.connect()
            func status(_ headers: [(String, String)], path: String = "/open") throws -> Int? { try client.get(path, headers).status }
            func many(_ count: Int, of size: Int) -> [(String, String)] {
                (0..<count).map { (String(format: "HTTP_X_%03d", $0), String(repeating: "x", count: size)) }
            }
            // nginx' own parameters are no headers of the client.
            let own = [("HTTP_PROXY", ""), ("REMOTE_ADDR", "127.0.0.1"), ("XEROTIER_REQUEST_ID", "req_0123456789abcdefghijklmn")]
            #expect(try status(own + many(100, of: 1)) == 200)
            #expect(try status(own + many(101, of: 1)) == 431)
            // `X-000: ` and the value.
            #expect(try status(many(1, of: 16_384 - 7)) == 200)
            #expect(try status(many(1, of: 16_384 - 6)) == 431)
            // 32 headers of 1,022 bytes and a line end each, beside a request line of 20 bytes.
            #expect(try status(many(31, of: 1015) + [("HTTP_X_999", String(repeating: "x", count: 1015 - 20))]) == 200)
            #expect(try status(many(31, of: 1015) + [("HTTP_X_999", String(repeating: "x", count: 1015 - 19))]) == 431)
            #expect(try status(many(31, of: 1015), path: "/open?" + String(repeating: "x", count: 2000)) == 431)
            let answer = try client.get("/open", own + many(200, of: 1))
            let error = Self.error(answer)
            #expect(error["code"] as? String == "request_too_large" && error["x_number"] as? Int == 41300)
            #expect(error["type"] as? String == "invalid_request_error" && error["param"] is NSNull)
            #expect(error["x_request_id"] as? String == "req_0123456789abcdefghijklmn")
            client.leave()
            bench.running.end()
        }
    }

    @Test func aBodyShorterThanAnnouncedReachesNoHandlerAndIsLoggedAs499() async throws {
        try await onThread {
            let bench = try ServerBench(threads: 1)
            let client = try bench.front.connect()
            let announced = [
                ("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/v1/things"), ("CONTENT_TYPE", "application/json"), ("CONTENT_LENGTH", "50"),
                Self.good,
            ]
            #expect(try client.call(announced, Array("{}".utf8)).status == nil)
            try client.begin(announced)
            try client.sendBody([1])
            client.leave()
            #expect(eventually { bench.logLines.count == 2 })
            #expect(bench.logLines.allSatisfy { $0["status"] as? Int == 499 && $0["error"] as? String == "client_closed_request" })
            #expect(bench.dispatched.withLock { $0 } == [])
            bench.running.end()
        }
    }

    @Test func afterARefusedBodyTheConnectionServesOn() async throws {
        try await onThread {
            let bench = try ServerBench(threads: 1)
            let client = try bench.front.connect()
            for size in [5_000, 100_000, 1 << 20] {
                #expect(try client.post("/v1/things", [UInt8](repeating: 32, count: size), [Self.good]).status == 413)
                #expect(try client.post("/v1/nothing", [UInt8](repeating: 32, count: size)).status == 404)
                #expect(try client.post("/v1/things", Array("{}".utf8), [Self.good]).status == 200)
            }
            client.leave()
            bench.running.end()
        }
    }

    @Test func whatAHandlerThrewIsNotShown() async throws {
        try await onThread {
            let bench = try ServerBench()
            let client = try bench.front.connect()
            let answer = try client.get("/open?fail=1")
            #expect(answer.status == 500 && Self.error(answer)["code"] as? String == "internal_error")
            #expect(!answer.text.contains("hunter2") && !answer.text.contains("Secret"))
            client.leave()
            bench.running.end()
        }
    }

    @Test func aValueOfTheClientOpensNoSecondHeader() async throws {
        try await onThread {
            let bench = try ServerBench()
            let client = try bench.front.connect()
            let answer = try client.get("/open?q=a%0D%0ASet-Cookie:%20b=c%0D%0A%0D%0Ad")
            #expect(answer.header("X-Echo") == "a  Set-Cookie: b=c    d" && answer.header("Set-Cookie") == nil)
            #expect(answer.text == #""a\r\nSet-Cookie: b=c\r\n\r\nd""#)
            client.leave()
            bench.running.end()
        }
    }

    @Test func onlyAnIdOfNginxIsTaken() async throws {
        try await onThread {
            let bench = try ServerBench()
            let client = try bench.front.connect()
            let given = "req_0123456789abcdef01234567"
            #expect(try client.get("/open", [("XEROTIER_REQUEST_ID", given)]).header("X-Request-ID") == given)
            for bad in ["", "req_", "req_0123456789ABCDEF01234567", "key_0123456789abcdef01234567", "req_0123456789abcdef01234567\r\nx: y"]
            {
                let id = try #require(try client.get("/open", [("XEROTIER_REQUEST_ID", bad)]).header("X-Request-ID"))
                #expect(id != bad && ID<HTTPRequest>(id) != nil)
            }
            client.leave()
            bench.running.end()
        }
    }

    @Test func theAccessLogHasNoQueryKeyOrBody() async throws {
        try await onThread {
            let bench = try ServerBench()
            let client = try bench.front.connect()
            let headers = [Self.good, ("HTTP_X_REQUEST_ID", "client-id-1"), ("REMOTE_ADDR", "10.0.0.1")]
            _ = try client.post("/v1/things?q=secret-query", Array(#"{"prompt":"secret"}"#.utf8), headers)
            _ = try client.get("/v1/\"quoted\n", [("HTTP_X_REQUEST_ID", "bad id\n")])
            #expect(eventually { bench.logLines.count == 2 })
            let text = try String(contentsOfFile: bench.logPath, encoding: .utf8)
            #expect(!text.contains("secret") && !text.contains("good"))
            let lines = bench.logLines
            #expect(lines[0]["path"] as? String == "/v1/things" && lines[0]["status"] as? Int == 200)
            #expect(lines[0]["client_request_id"] as? String == "client-id-1" && lines[0]["address"] as? String == "10.0.0.1")
            #expect(lines[0]["project"] as? String == ServerBench.Keys.project.description)
            #expect(lines[1]["path"] as? String == "/v1/\"quoted\n" && lines[1]["error"] as? String == "not_found")
            #expect(lines[1]["client_request_id"] == nil)
            client.leave()
            bench.running.end()
        }
    }
}
