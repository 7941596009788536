import Catalog
import Foundation
import JSON
import OpenAI
import Server
import Testing

@Suite struct CORSPolicyTests {
    private static let parser = JSONParser()

    private static func policy(_ json: String, at path: String = "") throws -> CORSPolicy {
        try RequestDocument.read(Array(json.utf8), parser) { try CORSPolicy($0, at: path) }
    }

    private static func error(_ json: String, at path: String = "") -> APIError? {
        do {
            _ = try policy(json, at: path)
            return nil
        } catch {
            return (error as? any APIErrorConvertible)?.apiError
        }
    }

    @Test func whatIsLeftOutHasItsDefault() throws {
        for json in [
            "{}", #"{"allow_origins": null, "allow_methods": null, "allow_headers": null, "max_age": null, "allow_credentials": null}"#,
        ] {
            #expect(try Self.policy(json) == .standard)
        }
        #expect(CORSPolicy.standard.maxAge == 86_400 && !CORSPolicy.standard.allowCredentials)
    }

    @Test func aWholePolicyIsReadAndStoredAsItReads() throws {
        let json = """
            {"allow_origins": ["https://App.Example.com:443", "http://localhost:3000", "https://*.Example.org", "https://app.example.com"],
             "allow_methods": ["GET", "DELETE"], "allow_headers": ["X-Custom", "Authorization"], "max_age": 0, "allow_credentials": true}
            """
        let policy = try Self.policy(json)
        #expect(policy.allowOrigins == ["https://app.example.com", "http://localhost:3000", "https://*.example.org"])
        #expect(policy.allowMethods == ["GET", "DELETE"] && policy.allowHeaders == ["X-Custom", "Authorization"])
        #expect(policy.maxAge == 0 && policy.allowCredentials)
        #expect(try JSONDecoder().decode(CORSPolicy.self, from: JSONEncoder().encode(policy)) == policy)
    }

    @Test func theFirstNameGoesBeforeItsAlias() throws {
        let both = try Self.policy(
            """
            {"allowed_origins": ["https://b.example"], "allow_origins": ["https://a.example"], "allowed_methods": ["PUT"], "allow_methods": ["GET"],
             "allowed_headers": ["B"], "allow_headers": ["A"], "max_age_seconds": 2, "max_age": 1}
            """)
        #expect(
            both.allowOrigins == ["https://a.example"] && both.allowMethods == ["GET"] && both.allowHeaders == ["A"] && both.maxAge == 1)
        let aliases = try Self.policy(
            #"{"allowed_origins": ["https://b.example"], "allowed_methods": ["PUT"], "allowed_headers": ["B"], "max_age_seconds": 2}"#)
        #expect(
            aliases.allowOrigins == ["https://b.example"] && aliases.allowMethods == ["PUT"] && aliases.allowHeaders == ["B"]
                && aliases.maxAge == 2)
    }

    @Test func credentialsFollowTheOrigins() throws {
        #expect(try Self.policy(#"{"allow_origins": ["https://a.example"]}"#).allowCredentials)
        #expect(try !Self.policy(#"{"allow_origins": ["https://a.example"], "allow_credentials": false}"#).allowCredentials)
        #expect(try !Self.policy(#"{"allow_origins": ["https://a.example", "*"]}"#).allowCredentials)
        #expect(try Self.policy(#"{"allow_headers": ["*"]}"#).allowsAnyHeader)
    }

    /// A body, the code, and the field that is named.
    @Test(arguments: [
        (#"{"allow_credentials": true}"#, "invalid_cors_policy", "allow_credentials"),
        (#"{"allow_origins": ["https://a.example", "*"], "allow_credentials": true}"#, "invalid_cors_policy", "allow_credentials"),
        (#"{"allow_origins": ["https://a.example"], "allow_headers": ["*"]}"#, "invalid_cors_policy", "allow_headers"),
        (#"{"allow_origins": ["https://a.example"], "allowed_headers": ["A", "*"]}"#, "invalid_cors_policy", "allowed_headers"),
        (#"{"allow_origins": ["https://a.example", "null"]}"#, "invalid_cors_policy", "allow_origins[1]"),
        (#"{"allowed_origins": ["null"]}"#, "invalid_cors_policy", "allowed_origins[0]"),
        (#"{"allow_origins": [null]}"#, "invalid_value", "allow_origins[0]"),
        (#"{"allow_origins": "*"}"#, "invalid_value", "allow_origins"),
        (#"{"allow_origins": [5]}"#, "invalid_value", "allow_origins[0]"), (#"{"allow_methods": []}"#, "invalid_value", "allow_methods"),
        (#"{"allow_methods": ["get"]}"#, "invalid_value", "allow_methods[0]"),
        (#"{"allow_methods": ["*"]}"#, "invalid_value", "allow_methods[0]"),
        (#"{"allow_methods": ["GET", "TRACE"]}"#, "invalid_value", "allow_methods[1]"),
        (#"{"allow_methods": ["GET\r\nX: y"]}"#, "invalid_value", "allow_methods[0]"),
        (#"{"allow_headers": [""]}"#, "invalid_value", "allow_headers[0]"),
        (#"{"allow_headers": ["A, B"]}"#, "invalid_value", "allow_headers[0]"),
        (#"{"allow_headers": ["A\r\nSet-Cookie: x"]}"#, "invalid_value", "allow_headers[0]"),
        (#"{"allow_headers": ["A\u0001"]}"#, "invalid_value", "allow_headers[0]"),
        (#"{"allow_headers": ["Ä"]}"#, "invalid_value", "allow_headers[0]"),
        (#"{"max_age": -1}"#, "invalid_value", "max_age"), (#"{"max_age_seconds": 86401}"#, "invalid_value", "max_age_seconds"),
        (#"{"max_age": "1"}"#, "invalid_value", "max_age"), (#"{"max_age": 1.5}"#, "invalid_value", "max_age"),
        (#"{"allow_credentials": 1}"#, "invalid_value", "allow_credentials"),
        (#"{"allow_origin": ["*"]}"#, "unsupported_parameter", "allow_origin"),
    ])
    func aBadMemberIsNamed(json: String, code: String, param: String) {
        let error = Self.error(json)
        #expect(error?.code.name == code && error?.param == param)
        let inEndpoint = Self.error(json, at: "cors")
        #expect(inEndpoint?.code.name == code && inEndpoint?.param == "cors." + param)
    }

    @Test func listsHaveTheirLengths() {
        let origins = { (count: Int) in (0..<count).map { #""https://a\#($0).example""# }.joined(separator: ",") }
        #expect(Self.error(#"{"allow_origins": [\#(origins(100))]}"#) == nil)
        let many = Self.error(#"{"allow_origins": [\#(origins(101))]}"#)
        #expect(many?.code == .invalidValue && many?.param == "allow_origins")
        let headers = { (count: Int) in (0..<count).map { #""H\#($0)""# }.joined(separator: ",") }
        #expect(Self.error(#"{"allow_headers": [\#(headers(50))]}"#) == nil)
        #expect(Self.error(#"{"allow_headers": [\#(headers(51))]}"#)?.param == "allow_headers")
    }

    @Test(arguments: [
        "", "example.com", "https://", "https://a.example/", "https://a.example/path", "https://a.example?x", "https://a.example#x",
        "https://user@a.example", "https://a.example:", "https://a.example:0", "https://a.example:080", "https://a.example:65536",
        "https://a.example:443x", "https://a b.example", "https://a.example\r\nX: y", "https://a.example\n", " https://a.example",
        "https://a.example, https://b.example", "https://ä.example", "https://a..example", "https://.example", "https://-a.example",
        "https://*", "https://*.com", "https://*.*.example", "https://a.*.example.com", "https://*a.example.com", "http://*.example.com",
        "https://*.example.com:8443", "*.example.com", "**", "ht tp://a", "://a", "1http://a", "https://[::1", "https://[g::1]",
        "https://[]",
        "https://a:b:1", "NULL", "https://\u{0}",
    ])
    func whatIsNoOriginIsRefused(text: String) { #expect(OriginPattern(text) == nil) }

    @Test(arguments: [
        ("https://a.example", "https://a.example"), ("HTTPS://A.Example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"), ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
        ("http://[::1]:8080", "http://[::1]:8080"), ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"), ("https://*.example.com", "https://*.example.com"),
    ])
    func originsAreKeptAsBrowsersWriteThem(text: String, kept: String) { #expect(OriginPattern(text)?.text == kept) }
}

@Suite struct CORSRulesTests {
    private func rules(_ origins: [String], headers: [String] = ["Content-Type"]) -> CORSRules {
        var policy = CORSPolicy.standard
        policy.allowOrigins = origins
        policy.allowHeaders = headers
        return CORSRules(policy)
    }

    @Test func anOriginIsAllowedAsItStands() {
        let rules = rules(["https://a.example", "http://localhost:3000"])
        #expect(rules.allowedOrigin(for: "https://a.example") == "https://a.example")
        #expect(rules.allowedOrigin(for: "http://localhost:3000") == "http://localhost:3000")
        for other in [
            "http://a.example", "https://a.example:8443", "https://b.a.example", "https://a.example.evil", "http://localhost", "null", "",
        ] {
            #expect(rules.allowedOrigin(for: other) == nil)
        }
        #expect(self.rules([]).allowedOrigin(for: "https://a.example") == nil)
    }

    @Test func everyOriginGetsTheStar() { #expect(rules(["*"]).allowedOrigin(for: "https://a.example") == "*") }

    @Test func aWildcardStandsForOneLabel() {
        let rules = rules(["https://*.example.com"])
        #expect(rules.allowedOrigin(for: "https://a.example.com") == "https://a.example.com")
        for other in [
            "https://example.com", "https://a.b.example.com", "http://a.example.com", "https://a.example.com:8443", "https://.example.com",
            "https://evil.com/.example.com", "https://aexample.com", "https://a.example.com.evil", "https://*.example.com",
        ] { #expect(rules.allowedOrigin(for: other) == nil) }
    }

    @Test func headersAreComparedWithoutCase() {
        let rules = rules(["*"], headers: ["Content-Type", "X-Mine"])
        #expect(rules.allows(headers: "content-type,x-mine") && rules.allows(headers: "Content-Type, X-Mine") && rules.allows(headers: ""))
        #expect(!rules.allows(headers: "content-type,authorization"))
        #expect(self.rules(["*"], headers: ["*"]).allows(headers: "anything"))
        #expect(rules.allows(method: "POST") && !rules.allows(method: "DELETE") && !rules.allows(method: "post"))
    }
}
