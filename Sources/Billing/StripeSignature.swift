import Crypto

/// How Stripe signs its callbacks: `t=<unix seconds>,v1=<hex>`, an HMAC-SHA256 of `<t>.<body>`; see docs.stripe.com/webhooks#verify-manually
public enum StripeSignature {
    /// Seconds that a callback may be old, or ahead.
    public static let tolerance = 300

    /// Whether one of the secrets signed the body, not long ago. There are several secrets while they are rotated.
    public static func isValid(_ header: String, of body: [UInt8], secrets: [String], at time: Int) -> Bool {
        let pairs = header.split(separator: ",").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }.filter { $0.count == 2 }
        let times = pairs.filter { $0[0] == "t" }.map { $0[1] }
        guard times.count == 1, times[0].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let signed = Int(times[0]),
            (time - tolerance...time + tolerance).contains(signed)
        else { return false }
        let expected = secrets.map { Hexadecimal.digits(of: HMAC.sha256(key: Array($0.utf8), Array("\(times[0]).".utf8) + body)) }
        let given = pairs.filter { $0[0] == "v1" }.map { Array($0[1].utf8) }
        return given.contains { given in expected.contains { ConstantTime.areEqual(given, $0) } }
    }
}
