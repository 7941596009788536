import Accounts
import JSON
import OpenAI
import Server
import Testing

@Suite struct KeyBodiesTests {
    private static let parser = JSONParser()

    private static func read<Value>(_ json: String, _ body: (JSONElement) throws -> Value) throws -> Value {
        try RequestDocument.read(Array(json.utf8), parser, body)
    }

    private static func error(_ body: () throws -> some Any) -> APIError? {
        do {
            _ = try body()
            return nil
        } catch {
            return (error as? any APIErrorConvertible)?.apiError
        }
    }

    @Test func aWholeKeyIsRead() throws {
        let key = try Self.read(
            """
            {"name": "ci", "scopes": ["chat", "management", "models"], "endpoint": "talk", "expires_in_days": 30, "service": true,
             "ip_filter": {"allow": ["10.0.0.0/8"]}, "quota": {"requests": 5, "window_seconds": 60.0, "tokens": null}, "unknown": 1}
            """, KeyBodies.new)
        #expect(
            key
                == NewKey(
                    name: "ci", scopes: [.inference, .management], endpoint: "talk", expiry: .inDays(30),
                    ipFilter: IPFilterRules(allow: ["10.0.0.0/8"]), quota: KeyQuota(requests: 5, windowSeconds: 60), isService: true))
        let plain = try Self.read(#"{"name":"k","scopes":["execution"],"expires_at":null,"quota":null,"ip_filter":null}"#, KeyBodies.new)
        #expect(plain == NewKey(name: "k", scopes: [.execution]))
    }

    /// A member in place of the good one, the code, and the field that is named.
    @Test(arguments: [
        (#""name": """#, "invalid_value", "name"), (#""name": 5"#, "invalid_value", "name"),
        (#""name": null"#, "missing_required_parameter", "name"),
        (#""name": " ""#, "invalid_value", "name"), (#""name": "a\nb""#, "invalid_value", "name"),
        ("\"name\": \"\(String(repeating: "x", count: 65))\"", "invalid_value", "name"),
        (#""scopes": null"#, "missing_required_parameter", "scopes"), (#""scopes": []"#, "invalid_scope", "scopes"),
        (#""scopes": "inference""#, "invalid_value", "scopes"), (#""scopes": ["root"]"#, "invalid_scope", "scopes"),
        (#""scopes": ["Inference"]"#, "invalid_scope", "scopes"), (#""scopes": [1]"#, "invalid_value", "scopes[0]"),
        (#""scopes": ["inference", null]"#, "invalid_value", "scopes[1]"), (#""endpoint": 1"#, "invalid_value", "endpoint"),
        (#""expires_at": "soon""#, "invalid_value", "expires_at"), (#""expires_at": -1"#, "invalid_value", "expires_at"),
        (#""expires_at": 1e300"#, "invalid_value", "expires_at"), (#""expires_at": 9223372036854775807"#, "invalid_value", "expires_at"),
        (#""expires_in_days": 0"#, "invalid_value", "expires_in_days"), (#""expires_in_days": 3651"#, "invalid_value", "expires_in_days"),
        (#""expires_in_days": 1.5"#, "invalid_value", "expires_in_days"), (#""expires_in_days": true"#, "invalid_value", "expires_in_days"),
        (#""expires_in_days": 1, "expires_at": 2000000000"#, "unsupported_combination", "expires_in_days"),
        (#""service": "yes""#, "invalid_value", "service"), (#""ip_filter": []"#, "invalid_value", "ip_filter"),
        (#""ip_filter": {"allow": "10.0.0.0/8"}"#, "invalid_value", "ip_filter.allow"),
        (#""ip_filter": {"allow": ["10.0.0.0/8", "10.0.0.0/99"]}"#, "invalid_value", "ip_filter.allow[1]"),
        (#""ip_filter": {"block": [10]}"#, "invalid_value", "ip_filter.block[0]"),
        (#""ip_filter": {"alow": []}"#, "unsupported_parameter", "ip_filter.alow"), (#""quota": 5"#, "invalid_value", "quota"),
        (#""quota": {"requests": 5}"#, "missing_required_parameter", "quota.window_seconds"),
        (#""quota": {"window_seconds": 60}"#, "missing_required_parameter", "quota.requests"),
        (#""quota": {"requests": 0, "window_seconds": 60}"#, "invalid_value", "quota.requests"),
        (#""quota": {"requests": -5, "window_seconds": 60}"#, "invalid_value", "quota.requests"),
        (#""quota": {"requests": "5", "window_seconds": 60}"#, "invalid_value", "quota.requests"),
        (#""quota": {"requests": 5, "window_seconds": 59}"#, "invalid_value", "quota.window_seconds"),
        (#""quota": {"requests": 5, "window_seconds": 86401}"#, "invalid_value", "quota.window_seconds"),
        (#""quota": {"requests": 5, "window_seconds": 60, "tokens": 0}"#, "invalid_value", "quota.tokens"),
        (#""quota": {"requests": 5, "window_seconds": 60, "token": 1}"#, "unsupported_parameter", "quota.token"),
    ])
    func badMembersAreNamed(member: String, code: String, param: String) {
        let name = member.split(separator: "\"")[0]
        let good = [#""name": "k""#, #""scopes": ["inference"]"#].filter { !$0.hasPrefix("\"\(name)\"") }
        let error = Self.error { try Self.read("{" + (good + [member]).joined(separator: ", ") + "}", KeyBodies.new) }
        #expect(error?.code.name == code && error?.param == param, "\(String(describing: error))")
    }

    @Test func aFilterHasAtMostAHundredEntries() {
        func filter(_ allow: Int, _ block: Int) -> APIError? {
            let entries = { (count: Int) in Array(repeating: #""10.0.0.0/8""#, count: count).joined(separator: ",") }
            let json = #"{"allow":[\#(entries(allow))],"block":[\#(entries(block))]}"#
            return Self.error { try Self.read(json) { try KeyBodies.ipFilter($0, "") } }
        }
        #expect(filter(100, 0) == nil && filter(0, 100) == nil && filter(50, 50) == nil)
        #expect(filter(101, 0)?.param == "allow" && filter(0, 101)?.param == "block" && filter(51, 50)?.code == .invalidValue)
    }

    @Test func aChangeSaysWhatItChanges() throws {
        #expect(try Self.read(#"{"name":"n"}"#, KeyBodies.change) == KeyChange(name: "n"))
        #expect(try Self.read(#"{"expires_at":null}"#, KeyBodies.change) == KeyChange(expiry: .never))
        #expect(
            try Self.read(#"{"expires_in_days":2,"scopes":["chat"]}"#, KeyBodies.change)
                == KeyChange(scopes: [.inference], expiry: .inDays(2)))
        for body in ["{}", #"{"nothing":1}"#, #"{"name":null}"#] {
            #expect(Self.error { try Self.read(body, KeyBodies.change) }?.code == .invalidRequest)
        }
        for name in ["endpoint", "ip_filter", "quota", "service"] {
            let error = Self.error { try Self.read(#"{"name":"n","\#(name)":null}"#, KeyBodies.change) }
            #expect(error?.code == .unsupportedParameter && error?.param == name)
        }
    }

    @Test(arguments: ["-1", "604801", "1.5", "\"1\"", "true", "[]", "1e18"]) func badGracesAreNamed(value: String) {
        let error = Self.error { try Self.read(#"{"grace_seconds":\#(value)}"#, KeyBodies.grace) }
        #expect(error?.code == .invalidValue && error?.param == "grace_seconds")
    }

    @Test func theGraceIsADayUnlessItIsSaid() throws {
        #expect(try Self.read("{}", KeyBodies.grace) == 86_400 && Self.read(#"{"grace_seconds":0}"#, KeyBodies.grace) == 0)
    }
}
