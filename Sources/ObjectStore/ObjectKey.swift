/// The form that keys have, so that no store and no signature needs to escape one.
enum ObjectKey {
    static let longest = 512

    static func check(_ key: String) throws {
        let isPlain = key.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "/"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        // Some servers resolve these, or take two slashes as one.
        let hasPlainParts = key.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { !["", ".", ".."].contains($0) }
        guard (1...longest).contains(key.utf8.count), isPlain, hasPlainParts else { throw StoreError.badKey }
    }
}
