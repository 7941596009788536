import Addresses

/// Decides which URLs of tenants may be called, so that nobody reaches the deployment's inside through it (02 §9).
public struct OutboundGuard: Sendable {
    private let allowHTTP: Bool
    private let ports: Set<Int>
    private let allowedRanges: [IPRange]
    private let allowedHosts: Set<String>
    private let ownHosts: Set<String>
    private let ownAddresses: Set<IPAddress>
    private let resolve: Resolve

    /// - Parameters:
    ///   - ports: beside 443, 80 and 8443.
    ///   - allowRanges: addresses that the operator opens, also to plain http.
    ///   - allowHosts: `host:port` that the operator trusts, whatever their scheme, port and address.
    ///   - ownHosts: names and addresses of this deployment, beside those of this machine's interfaces.
    public init(
        allowHTTP: Bool = false, ports: [Int] = [], allowRanges: [IPRange] = [], allowHosts: [String] = [], ownHosts: [String] = [],
        resolve: @escaping Resolve = SystemResolver.resolve
    ) {
        self.allowHTTP = allowHTTP
        self.ports = Set([443, 80, 8443] + ports)
        allowedRanges = allowRanges
        allowedHosts = Set(allowHosts.map { $0.lowercased() })
        self.ownHosts = Set(ownHosts.map { $0.lowercased() })
        ownAddresses = OwnAddresses.read().union(ownHosts.compactMap { IPAddress($0) })
        self.resolve = resolve
    }

    /// What can be said of a URL without asking the network.
    /// - Throws: `OutboundRefusal`.
    public func check(_ text: String) throws(OutboundRefusal) -> OutboundURL {
        let url = try OutboundURL(text)
        if isListed(url) { return url }
        guard url.scheme == "https" || allowHTTP || isOpened(url.address) else { throw OutboundRefusal.blocked("Only https is allowed.") }
        guard ports.contains(url.port) else { throw OutboundRefusal.blocked("The port \(url.port) is not allowed.") }
        guard !ownHosts.contains(url.host) else { throw OutboundRefusal.blocked("The host is this deployment's own.") }
        guard url.host != "localhost" && !url.host.hasSuffix(".localhost") else {
            throw OutboundRefusal.blocked("The host is this machine.")
        }
        if let address = url.address, !permits(address) { throw OutboundRefusal.blocked("The address is not public.") }
        return url
    }

    /// Whether the operator has listed host and port: such a URL may go anywhere.
    public func isListed(_ url: OutboundURL) -> Bool { allowedHosts.contains(url.authority) }

    /// Whether the operator has opened the address; plain http may go there, too.
    private func isOpened(_ address: IPAddress?) -> Bool {
        guard let address else { return false }
        return allowedRanges.contains { $0.contains(address) || address.unwrapped.map($0.contains) == true }
    }

    /// Whether a connection to the address may be made.
    public func permits(_ address: IPAddress) -> Bool {
        if isOpened(address) { return true }
        return address.isPublic && !ownAddresses.contains(address) && address.unwrapped.map(ownAddresses.contains) != true
    }

    /// Asks the resolver. One address that is not permitted refuses the host, whatever the others are: which of them a connection takes is chance.
    ///
    /// - Returns: the addresses that connections must be pinned to; nil where the URL names its address itself, or the operator lists it.
    /// - Throws: `OutboundRefusal.blocked`; `unreachable(.cannotConnect)` where there is no address.
    public func vet(_ url: OutboundURL, within limit: Duration) throws(OutboundRefusal) -> HTTPPin? {
        if isListed(url) || url.address != nil { return nil }
        let addresses = resolve(url.host, limit)
        guard !addresses.isEmpty else { throw OutboundRefusal.unreachable(.cannotConnect) }
        guard addresses.allSatisfy(permits) else { throw OutboundRefusal.blocked("The host has an address that is not public.") }
        return HTTPPin(host: url.host, port: url.port, addresses: addresses)
    }
}
