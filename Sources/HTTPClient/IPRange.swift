/// A range of addresses, such as `10.0.0.0/8`.
public struct IPRange: Sendable, Equatable {
    private let prefix: [UInt8]
    private let bits: Int

    /// From CIDR notation; an address alone is a range of one.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(String(parts[0])) else { return nil }
        prefix = address.bytes
        if parts.count == 1 {
            bits = 8 * prefix.count
        } else {
            guard parts[1].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let bits = Int(parts[1]),
                bits <= 8 * prefix.count
            else { return nil }
            self.bits = bits
        }
    }

    public func contains(_ address: IPAddress) -> Bool {
        guard prefix.count == address.bytes.count else { return false }
        let whole = bits / 8
        let rest = bits % 8
        guard address.bytes[..<whole] == prefix[..<whole] else { return false }
        return rest == 0 || address.bytes[whole] >> (8 - rest) == prefix[whole] >> (8 - rest)
    }
}
