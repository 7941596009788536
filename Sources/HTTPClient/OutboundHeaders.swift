/// Headers that those who give a URL may give with it (02 §9).
public enum OutboundHeaders {
    private static let forbidden: Set<String> = [
        "host", "content-length", "transfer-encoding", "connection", "upgrade", "cookie", "expect", "te", "trailer", "keep-alive",
    ]
    /// Those that say nothing about who asks: the only ones that follow a redirect to another origin.
    private static let harmless: Set<String> = ["accept", "accept-language", "content-type", "user-agent"]

    /// Headers that belong to the connection or to a proxy.
    public static func isForbidden(_ name: String) -> Bool {
        let name = name.lowercased()
        return forbidden.contains(name) || name.hasPrefix("proxy-") || name.hasPrefix("x-forwarded-")
    }

    static func followsToAnotherOrigin(_ name: String) -> Bool { harmless.contains(name.lowercased()) }

    /// - Throws: `OutboundRefusal.header`, which names the header.
    public static func check(_ name: String, _ value: String) throws(OutboundRefusal) {
        guard (1...128).contains(name.utf8.count), name.utf8.allSatisfy(isTokenByte), !isForbidden(name),
            // A line break would let one header become two.
            value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 9 })
        else {
            throw OutboundRefusal.header(
                String(name.unicodeScalars.filter { $0.value > 0x20 && $0.value < 0x7F }.prefix(128).map(Character.init)))
        }
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
