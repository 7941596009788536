import Billing
import Crypto
import HTTPClient
import Testing

@Suite struct PaymentTests {
    /// From RFC 4231, case 2.
    @Test func theHMACFollowsTheStandard() {
        let hex = HMAC.sha256(key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8)).map {
            ($0 < 16 ? "0" : "") + String($0, radix: 16)
        }
        #expect(hex.joined() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    }

    static let body = Array(#"{"id":"evt_1"}"#.utf8)

    static func sign(_ body: [UInt8], _ secret: String = "whsec_a", at time: Int = 1_000) -> String {
        HMAC.sha256(key: Array(secret.utf8), Array("\(time).".utf8) + body).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func isValid(_ header: String, body: [UInt8] = body, at time: Int = 1_000) -> Bool {
        StripeSignature.isValid(header, of: body, secrets: ["whsec_a", "whsec_b"], at: time)
    }

    @Test func aSignatureOfAnyCurrentSecretIsGoodForFiveMinutes() {
        for secret in ["whsec_a", "whsec_b"] { #expect(Self.isValid("t=1000,v1=\(Self.sign(Self.body, secret))")) }
        #expect(Self.isValid("t=1000,v1=\(String(repeating: "0", count: 64)),v1=\(Self.sign(Self.body)),v0=x"))
        for (time, isValid) in [(700, true), (699, false), (1_300, true), (1_301, false)] {
            #expect(Self.isValid("t=1000,v1=\(Self.sign(Self.body))", at: time) == isValid, "\(time)")
        }
    }

    @Test func aForgedSignatureIsRefused() {
        let good = Self.sign(Self.body)
        for header in [
            "", "t=1000", "v1=\(good)", "t=1000,v1=", "t=1000,v1=\(good.dropLast())", "t=1000,v1=\(good)0", "t=1000,v0=\(good)",
            "t=1001,v1=\(good)",
            "t=1000,t=1001,v1=\(good)", "t=-1000,v1=\(good)", "t=1e3,v1=\(good)", "t=,v1=\(good)",
            "t=1000,v1=\(Self.sign(Self.body, "whsec_c"))",
            "t=1000,v1=\(Self.sign(Self.body, ""))", "t = 1000, v1 = \(good)", "t=1000,v1=\(String(repeating: "0", count: 64))",
        ] { #expect(!Self.isValid(header), "\(header)") }
        #expect(!Self.isValid("t=1000,v1=\(good)", body: Self.body + [0x20]))
        #expect(!StripeSignature.isValid("t=1000,v1=\(good)", of: Self.body, secrets: [], at: 1_000))
    }

    @Test(arguments: [
        "http://127.0.0.1:12111", "https://127.0.0.1", "https://2130706433", "https://0x7f.1", "https://0177.0.0.1", "https://127.1",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]", "https://[64:ff9b::7f00:1]", "https://[2002:7f00:1::]", "https://[fe80::1%25eth0]",
        "https://localhost",
        "https://localhost.", "https://１２７.0.0.1", "https://169.254.169.254", "https://10.0.0.1", "https://user:pw@api.stripe.com",
        "https://api.stripe.com:22", "http://api.stripe.com", "https://api.stripe.com?x", "ftp://api.stripe.com", "", "api.stripe.com",
    ])
    func aPrivateOrBrokenBaseURLIsRefused(url: String) {
        #expect(throws: OutboundRefusal.self) {
            try StripeProvider(url: url, secretKey: "sk", webhookSecrets: [], outbound: OutboundGuard())
        }
    }

    @Test func thePublicBaseURLIsTaken() throws {
        _ = try StripeProvider(url: "https://api.stripe.com", secretKey: "sk", webhookSecrets: [], outbound: OutboundGuard())
        _ = try StripeProvider(
            url: "http://127.0.0.1:12111/", secretKey: "sk", webhookSecrets: [], outbound: OutboundGuard(allowHosts: ["127.0.0.1:12111"]))
    }
}
