import Glibc

/// A client's address; an IPv4 address inside IPv6 (`::ffff:1.2.3.4`) counts as IPv4.
public struct ClientAddress: Sendable, Equatable, CustomStringConvertible {
    /// 4 or 16 bytes.
    let bytes: [UInt8]

    /// From its usual text, such as `192.0.2.1` or `2001:db8::1`.
    public init?(_ text: some StringProtocol) {
        guard let bytes = Self.parse(String(text)) else { return nil }
        let isMapped = bytes.count == 16 && bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        self.bytes = isMapped ? Array(bytes[12...]) : bytes
    }

    public var description: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            bytes.withUnsafeBytes { raw in
                _ = inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, raw.baseAddress, text.baseAddress, socklen_t(text.count))
            }
            return String(cString: text.baseAddress!)
        }
    }

    fileprivate static func parse(_ text: String) -> [UInt8]? {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
        var six = in6_addr()
        if inet_pton(AF_INET6, text, &six) == 1 { return withUnsafeBytes(of: six) { Array($0) } }
        return nil
    }
}

/// A range of addresses in CIDR notation: `10.0.0.0/8`, `2001:db8::/32` (RFC 4632, RFC 4291 §2.3).
public struct CIDR: Sendable, Equatable {
    private let prefix: [UInt8]
    private let bits: Int

    /// nil for anything but an address, a slash and a length, and for addresses with bits beyond their prefix: `10.0.0.1/8` is a mistake.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            parts[1].first != "0" || parts[1] == "0", var bits = Int(parts[1]), var bytes = ClientAddress.parse(String(parts[0])),
            bits <= bytes.count * 8, Self.isZero(bytes, from: bits)
        else { return nil }
        // Addresses inside ::ffff:0:0/96 are compared as the IPv4 addresses they are.
        if bytes.count == 16, bits >= 96, bytes[..<12].elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]) {
            bytes = Array(bytes[12...])
            bits -= 96
        }
        prefix = bytes
        self.bits = bits
    }

    public func contains(_ address: ClientAddress) -> Bool {
        guard address.bytes.count == prefix.count else { return false }
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

/// From where a key may be used (08 §2.3): a blocked address never, otherwise any address when nothing is allowed in particular.
public struct IPFilter: Sendable, Equatable {
    public var allow: [CIDR]
    public var block: [CIDR]

    public init(allow: [CIDR] = [], block: [CIDR] = []) {
        self.allow = allow
        self.block = block
    }

    public func admits(_ address: ClientAddress) -> Bool {
        if block.contains(where: { $0.contains(address) }) { return false }
        return allow.isEmpty || allow.contains { $0.contains(address) }
    }
}

/// The proxies in front of us whose `X-Forwarded-For` is believed.
public struct TrustedProxies: Sendable {
    private let ranges: [CIDR]

    public init(_ ranges: [CIDR]) { self.ranges = ranges }

    /// The last hop that no trusted proxy stands for: the peer, unless that is a trusted proxy; then who it says its own peer was, and so on.
    /// nil = that hop has no address that can be read, so nothing is known of it.
    public func clientAddress(peer: String?, forwardedFor: @autoclosure () -> String?) -> ClientAddress? {
        guard var address = peer.flatMap({ ClientAddress($0) }) else { return nil }
        guard isTrusted(address), let hops = forwardedFor() else { return address }
        for hop in hops.split(separator: ",").reversed() {
            guard let next = ClientAddress(hop.drop { $0 == " " }.prefix { $0 != " " }) else { return nil }
            address = next
            if !isTrusted(address) { break }
        }
        return address
    }

    private func isTrusted(_ address: ClientAddress) -> Bool { ranges.contains { $0.contains(address) } }
}
