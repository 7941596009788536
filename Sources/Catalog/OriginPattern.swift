/// One origin of a policy, or all origins that differ in their first label.
///
/// It is kept as browsers write origins (RFC 6454 §6.2): in lower case, and without the port that the scheme implies. So comparing is comparing texts.
package struct OriginPattern: Equatable {
    package let text: String
    /// `.example.com` of `https://*.example.com`.
    let suffix: String?

    /// nil where the text is no origin: with a path, a user, a query, anything but ASCII, or a wildcard that is not the whole first label of a
    /// host under https.
    package init?(_ text: String) {
        guard let separator = text.firstRange(of: "://") else { return nil }
        let scheme = text[..<separator.lowerBound].lowercased()
        guard Self.isScheme(scheme), let (host, port) = Self.split(text[separator.upperBound...]) else { return nil }
        if host.hasPrefix("*.") {
            let rest = host.dropFirst(2)
            // A whole top level is nobody's.
            guard scheme == "https", port == nil, rest.contains("."), Self.isName(rest) else { return nil }
            suffix = "." + rest
        } else {
            guard Self.isName(Substring(host)) || Self.isIPv6(host) else { return nil }
            suffix = nil
        }
        let isImplied = port == nil || (scheme == "https" && port == 443) || (scheme == "http" && port == 80)
        self.text = "\(scheme)://\(host)" + (isImplied ? "" : ":\(port ?? 0)")
    }

    /// RFC 3986 §3.1.
    private static func isScheme(_ text: String) -> Bool {
        guard let first = text.utf8.first, isLetter(first), text.utf8.count <= 64 else { return false }
        return text.utf8.allSatisfy { isLetter($0) || isDigit($0) || "+-.".utf8.contains($0) }
    }

    /// The host in lower case, and the port; nil where the port is none.
    private static func split(_ authority: Substring) -> (host: String, port: Int?)? {
        // The last colon stands before a port unless it is within the brackets of an IPv6 address.
        guard let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") else { return (authority.lowercased(), nil) }
        let digits = authority[authority.index(after: colon)...].utf8
        guard (1...5).contains(digits.count), digits.allSatisfy(isDigit), digits.first != UInt8(ascii: "0"),
            let port = Int(Substring(digits)), port <= 65_535
        else { return nil }
        return (authority[..<colon].lowercased(), port)
    }

    /// Labels of letters, digits, `-` and `_`; IPv4 addresses look the same.
    private static func isName(_ host: some StringProtocol) -> Bool {
        guard (1...253).contains(host.utf8.count) else { return false }
        return host.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { isLabel($0) }
    }

    static func isLabel(_ label: some Collection<UInt8>) -> Bool {
        (1...63).contains(label.count) && label.first != UInt8(ascii: "-")
            && label.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
    }

    private static func isIPv6(_ host: String) -> Bool {
        guard host.hasPrefix("["), host.hasSuffix("]"), (4...41).contains(host.utf8.count) else { return false }
        let inner = host.dropFirst().dropLast()
        return inner.contains(":")
            && inner.utf8.allSatisfy { isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) || ":.".utf8.contains($0) }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
