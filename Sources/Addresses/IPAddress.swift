import Glibc

/// An IPv4 or IPv6 address.
public struct IPAddress: Sendable, Hashable {
    /// 4 or 16 bytes.
    public let bytes: [UInt8]

    public init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// From its usual text, such as `127.0.0.1` or `::1`.
    public init?(_ text: String) {
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            bytes = withUnsafeBytes(of: four) { Array($0) }
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            bytes = withUnsafeBytes(of: six) { Array($0) }
        } else {
            return nil
        }
    }

    package init?(_ address: UnsafePointer<sockaddr>, length: UInt32) {
        let raw = UnsafeRawPointer(address)
        switch Int32(address.pointee.sa_family) {
        case AF_INET where Int(length) >= MemoryLayout<sockaddr_in>.size:
            bytes = withUnsafeBytes(of: raw.load(as: sockaddr_in.self).sin_addr) { Array($0) }
        case AF_INET6 where Int(length) >= MemoryLayout<sockaddr_in6>.size:
            bytes = withUnsafeBytes(of: raw.load(as: sockaddr_in6.self).sin6_addr) { Array($0) }
        default:
            return nil
        }
    }

    /// False for loopback, private, link-local, documentation, multicast and reserved ranges, also when wrapped in IPv6 (02 §9).
    public var isPublic: Bool {
        if let unwrapped { return unwrapped.isPublic }
        return !(bytes.count == 4 ? Self.closedV4 : Self.closedV6).contains { $0.contains(self) }
    }

    /// The IPv4 address inside a v4-mapped, v4-compatible, NAT64, 6to4 or Teredo address.
    public var unwrapped: IPAddress? {
        guard bytes.count == 16, bytes != Self.unspecified, bytes != Self.loopback else { return nil }
        return switch true {
        case Self.mapped.contains(self), Self.compatible.contains(self), Self.nat64.contains(self): IPAddress(bytes: Array(bytes[12...]))
        case Self.sixToFour.contains(self): IPAddress(bytes: Array(bytes[2..<6]))
        case Self.teredo.contains(self): IPAddress(bytes: bytes[12...].map { ~$0 })
        default: nil
        }
    }

    /// The IPv4 address inside a v4-mapped one, any other as it is.
    public var unmapped: IPAddress { Self.mapped.contains(self) ? IPAddress(bytes: Array(bytes[12...])) ?? self : self }

    /// An IPv4 address as a v4-mapped one: `::ffff:192.0.2.1`.
    public var mapped: IPAddress? { bytes.count == 4 ? IPAddress(bytes: [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF] + bytes) : nil }

    private static let unspecified = [UInt8](repeating: 0, count: 16)
    private static let loopback = [UInt8](repeating: 0, count: 15) + [1]

    private static let closedV4 = ranges(
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")
    /// Beyond the specification's list: local NAT64, site-local, ORCHID, SRv6 and the newer documentation range.
    private static let closedV6 = ranges(
        "::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8", "2001:db8::/32", "100::/64", "64:ff9b:1::/48", "fec0::/10",
        "2001:10::/28",
        "2001:20::/28", "5f00::/16", "3fff::/20")
    private static let mapped = range("::ffff:0:0/96")
    private static let compatible = range("::/96")
    private static let nat64 = range("64:ff9b::/96")
    private static let sixToFour = range("2002::/16")
    private static let teredo = range("2001::/32")

    private static func ranges(_ texts: String...) -> [IPRange] { texts.map(range) }

    private static func range(_ text: String) -> IPRange {
        guard let range = IPRange(text) else { preconditionFailure("\(text) is no range") }
        return range
    }
}

extension IPAddress {
    /// Its usual text; see inet_ntop(3).
    public var text: String {
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &buffer, socklen_t(buffer.count))
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
