import Foundation

/// RFC 4648 §5 without padding.
public enum Base64URL {
    public static func encode(_ bytes: [UInt8]) -> String {
        String(
            decoding: Data(bytes).base64EncodedData().filter { $0 != UInt8(ascii: "=") }.map { byte in
                switch byte {
                case UInt8(ascii: "+"): UInt8(ascii: "-")
                case UInt8(ascii: "/"): UInt8(ascii: "_")
                default: byte
                }
            }, as: UTF8.self)
    }

    /// nil for a text of another alphabet or length.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        guard isAlphabet(text.utf8) else { return nil }
        let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        let usual = String(text).replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        return Data(base64Encoded: usual + padding).map { Array($0) }
    }

    /// Whether every character belongs to the alphabet.
    public static func isAlphabet(_ text: some Sequence<UInt8>) -> Bool {
        text.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }
}
