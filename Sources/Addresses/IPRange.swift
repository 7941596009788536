/// A range of addresses in CIDR notation: `10.0.0.0/8`, `2001:db8::/32` (RFC 4632, RFC 4291 §2.3).
public struct IPRange: Sendable, Equatable {
    private let prefix: [UInt8]
    private let bits: Int

    /// nil for anything but an address, a slash and a length, and for addresses with bits beyond their prefix: `10.0.0.1/8` is a mistake.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            parts[1].first != "0" || parts[1] == "0", let bits = Int(parts[1]), let prefix = IPAddress(String(parts[0]))?.bytes,
            bits <= prefix.count * 8, Self.isZero(prefix, from: bits)
        else { return nil }
        self.prefix = prefix
        self.bits = bits
    }

    /// Whether all of it is v4-mapped: within `::ffff:0:0/96`.
    public var isMapped: Bool { prefix.count == 16 && bits >= 96 && IPAddress(bytes: prefix).map { $0.unmapped.bytes.count == 4 } == true }

    public func contains(_ address: IPAddress) -> Bool {
        guard prefix.count == address.bytes.count else { return false }
        let whole = bits / 8
        let rest = bits % 8
        guard address.bytes[..<whole] == prefix[..<whole] else { return false }
        return rest == 0 || address.bytes[whole] >> (8 - rest) == prefix[whole] >> (8 - rest)
    }

    private static func isZero(_ bytes: [UInt8], from bit: Int) -> Bool {
        for index in bytes.indices {
            let kept = min(max(bit - index * 8, 0), 8)
            if UInt16(bytes[index]) << kept & 0xFF != 0 { return false }
        }
        return true
    }
}
