import Server
import Testing

@Suite struct PercentEncodingTests {
    @Test(arguments: [
        ("a%20b", "a b"), ("%C3%BC", "ü"), ("%c3%bc", "ü"), ("%2F", "/"), ("%252F", "%2F"), ("a+b", "a+b"), ("", ""), ("plain", "plain"),
        ("%F0%9F%99%82", "🙂"),
        // Broken escapes and bytes that are no UTF-8 stay as they are.
        ("%", "%"), ("%2", "%2"), ("%zz", "%zz"), ("%+1", "%+1"), ("%-0", "%-0"), ("% 1", "% 1"), ("%FF", "%FF"), ("a%C3", "a%C3"),
        ("100%", "100%"),
    ])
    func escapesAreResolved(text: String, decoded: String) {
        #expect(PercentEncoding.decode(text) == decoded)
    }

    @Test(
        arguments: [
            ("a=1&b=2", "b", "2"), ("a=1&a=2", "a", "1"), ("a", "a", ""), ("a=", "a", ""), ("a=1=2", "a", "1=2"), ("a=x+y%2B", "a", "x y+"),
            ("%61=1", "a", "1"), ("&&a=1&", "a", "1"), ("aa=1", "a", nil), ("", "a", nil), ("=1", "", "1"),
        ] as [(String, String, String?)])
    func aQueryGivesItsFirstValue(query: String, name: String, value: String?) {
        #expect(Query(query)[name] == value)
    }
}

@Suite struct SlugTests {
    @Test(arguments: [
        ("ab", true), ("a1", true), ("a-b", true), (String(repeating: "a", count: 40), true), ("a", false), ("", false), ("1a", false),
        ("-a", false), ("a-", false), ("Ab", false), ("a_b", false), ("aü", false), ("a b", false),
        (String(repeating: "a", count: 41), false),
        ("a\n", false), ("a\u{0}b", false),
    ])
    func projectsHaveTheirForm(text: String, isGood: Bool) { #expect(Slug.isProject(text) == isGood) }

    @Test(arguments: [
        ("a", true), ("1", true), ("1-2", true), (String(repeating: "a", count: 48), true), ("", false), ("-a", false), ("a-", false),
        ("-", false), ("A", false), ("a.b", false), ("ä", false), (String(repeating: "a", count: 49), false),
    ])
    func endpointsHaveTheirForm(text: String, isGood: Bool) { #expect(Slug.isEndpoint(text) == isGood) }

    @Test(arguments: ["v1", "api", "healthz", "metrics", "chat", "models"])
    func wordsOfPathsAreReserved(word: String) { #expect(Slug.reserved.contains(word)) }
}

@Suite struct ResponseHeadTests {
    @Test(arguments: ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "\0", "a\u{1F}b"])
    func aValueNeverOpensASecondLine(value: String) {
        let head = String(decoding: Response.head(status: 200, headers: [("X-A", value), ("X-B", "1")]), as: UTF8.self)
        let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.count == 5 && lines[0] == "Status: 200 OK" && lines[2] == "X-B: 1")
        #expect(lines[1].utf8.allSatisfy { $0 >= 0x20 })
    }

    @Test(arguments: [
        ("client-id", true), ("short", false), ("with space", false), ("line\nbreak", false), (String(repeating: "a", count: 64), true),
        (String(repeating: "a", count: 65), false), ("ünïcode-id", false), ("\"},{\"a\":1", false),
    ])
    func onlyPlainIdsOfClientsAreLogged(text: String, isLogged: Bool) {
        #expect((AccessLog.clientRequestID(text) != nil) == isLogged)
    }
}

@Suite struct MetricsTests {
    @Test func theExpositionIsThatOfPrometheus() throws {
        let metrics = Metrics()
        metrics.count("requests_total", "route=\"a/:b\",status=\"200\"")
        metrics.count("requests_total", "route=\"a/:b\",status=\"200\"", by: 2)
        metrics.count("plain_total")
        metrics.gauge("depth") { 2.5 }
        metrics.gauge("commits_total") { 7 }
        metrics.observe("request_seconds", "route=\"x\"", seconds: 0.02)
        metrics.observe("request_seconds", "route=\"x\"", seconds: 1e9)
        metrics.observe("wait_seconds", seconds: 0.001)
        let text = metrics.render()
        #expect(text.hasSuffix("\n"))
        for line in text.split(separator: "\n") {
            let isType = line.wholeMatch(of: /# TYPE xerotier_[a-z_]+ (counter|gauge|histogram)/) != nil
            let isSample =
                line.wholeMatch(of: /xerotier_[a-z_]+(\{([a-z]+="[^"\\\n]*")(,[a-z]+="[^"\\\n]*")*\})? [0-9.e+-]+/) != nil
            #expect(isType || isSample, "\(line)")
        }
        #expect(text.contains("xerotier_requests_total{route=\"a/:b\",status=\"200\"} 3\n"))
        #expect(text.contains("# TYPE xerotier_commits_total counter\nxerotier_commits_total 7.0\n"))
        #expect(text.contains("# TYPE xerotier_depth gauge\nxerotier_depth 2.5\n"))
        #expect(text.contains("xerotier_request_seconds_bucket{route=\"x\",le=\"0.025\"} 1\n"))
        #expect(text.contains("xerotier_request_seconds_bucket{route=\"x\",le=\"+Inf\"} 2\n"))
        #expect(text.contains("xerotier_request_seconds_count{route=\"x\"} 2\n"))
        #expect(text.contains("xerotier_wait_seconds_bucket{le=\"0.001\"} 1\n") && text.contains("xerotier_wait_seconds_sum 0.001\n"))
        // Each name has one TYPE line, before its samples.
        let types = text.matches(of: /# TYPE ([a-z_]+)/).map { String($0.output.1) }
        #expect(Set(types).count == types.count)
    }
}
