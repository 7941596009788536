import Glibc

/// An IPv4 or IPv6 address.
public struct IPAddress: Sendable, Equatable {
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

    init?(_ address: UnsafePointer<sockaddr>, length: UInt32) {
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

    /// False for loopback, private, link-local, documentation, multicast and reserved ranges, also when wrapped in IPv6.
    public var isPublic: Bool {
        bytes.count == 4 ? !Self.closedV4.contains { contains($0) } : isPublicV6
    }

    private var isPublicV6: Bool {
        if let wrapped { return wrapped.isPublic }
        return !Self.closedV6.contains { contains($0) }
    }

    /// The IPv4 address inside a v4-mapped, NAT64, 6to4 or Teredo address.
    private var wrapped: IPAddress? {
        switch true {
        case contains(Self.mapped), contains(Self.nat64): IPAddress(bytes: Array(bytes[12...]))
        case contains(Self.sixToFour): IPAddress(bytes: Array(bytes[2..<6]))
        case contains(Self.teredo): IPAddress(bytes: bytes[12...].map { ~$0 })
        default: nil
        }
    }

    private struct Range: Sendable {
        let prefix: [UInt8]
        let bits: Int
        init(_ text: String, _ bits: Int) {
            prefix = IPAddress(text)?.bytes ?? []
            self.bits = bits
        }
    }

    private func contains(_ range: Range) -> Bool {
        guard range.prefix.count == bytes.count else { return false }
        let whole = range.bits / 8
        let rest = range.bits % 8
        guard bytes[..<whole] == range.prefix[..<whole] else { return false }
        return rest == 0 || bytes[whole] >> (8 - rest) == range.prefix[whole] >> (8 - rest)
    }

    private static let closedV4 = [
        Range("0.0.0.0", 8), Range("10.0.0.0", 8), Range("100.64.0.0", 10), Range("127.0.0.0", 8), Range("169.254.0.0", 16),
        Range("172.16.0.0", 12), Range("192.0.0.0", 24), Range("192.0.2.0", 24), Range("192.88.99.0", 24), Range("192.168.0.0", 16),
        Range("198.18.0.0", 15), Range("198.51.100.0", 24), Range("203.0.113.0", 24), Range("224.0.0.0", 4), Range("240.0.0.0", 4),
    ]
    private static let closedV6 = [
        Range("::", 128), Range("::1", 128), Range("fc00::", 7), Range("fe80::", 10), Range("ff00::", 8), Range("2001:db8::", 32),
        Range("100::", 64),
    ]
    private static let mapped = Range("::ffff:0:0", 96)
    private static let nat64 = Range("64:ff9b::", 96)
    private static let sixToFour = Range("2002::", 16)
    private static let teredo = Range("2001::", 32)
}
