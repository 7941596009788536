import Addresses

/// Where a request comes from. An IPv4 address inside IPv6 (`::ffff:1.2.3.4`) counts as IPv4, and so does a range of such.
public struct ClientAddress: Sendable, Equatable, CustomStringConvertible {
    private let address: IPAddress
    private let mapped: IPAddress?

    /// From its usual text, such as `192.0.2.1` or `2001:db8::1`.
    public init?(_ text: some StringProtocol) {
        guard let address = IPAddress(String(text)) else { return nil }
        self.address = address.unmapped
        mapped = self.address.mapped
    }

    public var description: String { address.text }

    package func isInside(_ range: IPRange) -> Bool { range.contains(address) || range.isMapped && mapped.map(range.contains) == true }
}

/// From where a key may be used (08 §2.3): a blocked address never, otherwise any address when nothing is allowed in particular.
public struct IPFilter: Sendable, Equatable {
    public var allow: [IPRange]
    public var block: [IPRange]

    public init(allow: [IPRange] = [], block: [IPRange] = []) {
        self.allow = allow
        self.block = block
    }

    public func admits(_ address: ClientAddress) -> Bool {
        if block.contains(where: address.isInside) { return false }
        return allow.isEmpty || allow.contains(where: address.isInside)
    }
}

/// The proxies in front of us whose `X-Forwarded-For` is believed.
public struct TrustedProxies: Sendable {
    private let ranges: [IPRange]

    public init(_ ranges: [IPRange]) { self.ranges = ranges }

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

    private func isTrusted(_ address: ClientAddress) -> Bool { ranges.contains(where: address.isInside) }
}
