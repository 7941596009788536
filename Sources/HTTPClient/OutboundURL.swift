import Addresses
import CCurl
import Foundation

/// An http or https URL, read so strictly that no two readers can disagree on its host: every number form but dotted decimal, user names, escapes in
/// the host and the like are refused (02 §9).
public struct OutboundURL: Sendable, Equatable, CustomStringConvertible {
    /// `https` or `http`.
    public let scheme: String
    /// In lower case and ASCII (international names in punycode), without a final dot and without brackets.
    public let host: String
    public let port: Int
    /// From the first slash on, with the query; never empty.
    public let target: String
    /// Where the host is an address.
    public let address: IPAddress?

    /// - Throws: `OutboundRefusal.malformedURL`, or `blocked` for a form that could hide another host.
    public init(_ text: String) throws(OutboundRefusal) {
        guard text.utf8.count <= 8_192 else { throw OutboundRefusal.malformedURL("It has more than 8192 bytes.") }
        guard !text.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "\\") }) else {
            throw OutboundRefusal.malformedURL("It holds a space, a control character or a backslash.")
        }
        guard let separator = text.range(of: "://") else { throw OutboundRefusal.malformedURL("It has no scheme.") }
        scheme = text[..<separator.lowerBound].lowercased()
        guard ["http", "https"].contains(scheme) else { throw OutboundRefusal.malformedURL("The scheme is neither http nor https.") }
        let rest = text[separator.upperBound...].prefix { $0 != "#" }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let (written, port) = try Self.split(rest[..<end])
        self.port = port ?? (scheme == "https" ? 443 : 80)
        (host, address) = try Self.read(host: written)
        let tail = String(decoding: Self.escaped(rest[end...]), as: UTF8.self)
        target = tail.hasPrefix("/") ? tail : "/" + tail
        // The reader that makes the connection sees the same host.
        guard Self.hostAsCurlReads(description) == writtenHost else { throw OutboundRefusal.malformedURL("The host is not well formed.") }
    }

    private var writtenHost: String { host.contains(":") ? "[\(host)]" : host }
    /// `host:port`, the form of the operator's lists.
    public var authority: String { "\(writtenHost):\(port)" }
    public var origin: String { "\(scheme)://\(writtenHost)\(port == (scheme == "https" ? 443 : 80) ? "" : ":\(port)")" }
    public var description: String { origin + target }

    /// Where a redirect leads; never from https to http.
    package func redirected(to location: String) throws(OutboundRefusal) -> OutboundURL {
        let next = try OutboundURL(absolute(location))
        guard scheme == "http" || next.scheme == "https" else { throw OutboundRefusal.blocked("A redirect leads from https to http.") }
        return next
    }

    /// RFC 3986 §5.2, without taking out dots: curl does.
    private func absolute(_ location: String) -> String {
        let path = target.prefix { $0 != "?" }
        return switch true {
        case location.hasPrefix("//"): "\(scheme):\(location)"
        case location.hasPrefix("/"): origin + location
        case location.hasPrefix("?"): origin + path + location
        case location.contains("://"): location
        default: origin + path[...(path.lastIndex(of: "/") ?? path.startIndex)] + location
        }
    }

    private static func split(_ authority: Substring) throws(OutboundRefusal) -> (host: Substring, port: Int?) {
        guard !authority.contains("@") else { throw OutboundRefusal.blocked("It holds a user name.") }
        let hostEnd: Substring.Index
        if authority.hasPrefix("[") {
            guard let bracket = authority.firstIndex(of: "]") else { throw OutboundRefusal.malformedURL("A bracket is not closed.") }
            hostEnd = authority.index(after: bracket)
        } else {
            hostEnd = authority.firstIndex(of: ":") ?? authority.endIndex
        }
        let host = authority[..<hostEnd]
        let tail = authority[hostEnd...]
        guard !tail.isEmpty else { return (host, nil) }
        let digits = tail.dropFirst()
        guard tail.first == ":", (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy(isDigit), let port = Int(digits),
            (1...65_535).contains(port)
        else { throw OutboundRefusal.malformedURL("The port is not a number from 1 to 65535.") }
        return (host, port)
    }

    private static func read(host written: Substring) throws(OutboundRefusal) -> (String, IPAddress?) {
        if written.hasPrefix("[") {
            let text = String(written.dropFirst().dropLast())
            // Zones (%eth0) name interfaces of this machine.
            guard text.contains(":"), let address = IPAddress(text) else {
                throw OutboundRefusal.blocked("The text in brackets is not a plain IPv6 address.")
            }
            return (address.text, address)
        }
        guard !written.contains("%") else { throw OutboundRefusal.blocked("The host holds an escape.") }
        let isASCII = written.utf8.allSatisfy { $0 < 0x80 }
        var host = isASCII ? written.lowercased() : try punycode(String(written))
        if host.hasSuffix(".") { host.removeLast() }
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        guard host.utf8.count <= 253, labels.allSatisfy({ (1...63).contains($0.utf8.count) }), host.utf8.allSatisfy(isHostByte) else {
            throw OutboundRefusal.malformedURL("The host is not a name of at most 253 characters.")
        }
        guard let last = labels.last, isNumber(last) else { return (host, nil) }
        // Octal, hexadecimal, short and whole-number forms, digits of other scripts, a final dot: readers differ on what they mean.
        guard let address = IPAddress(host), host == written else {
            throw OutboundRefusal.blocked("A host in numbers must be a plain IPv4 address of four decimal parts.")
        }
        return (host, address)
    }

    /// An international name in ASCII (UTS 46, non-transitional), by libidn2: curl would do the same, but reads names in the process' locale.
    private static func punycode(_ host: String) throws(OutboundRefusal) -> String {
        var text: UnsafeMutablePointer<CChar>?
        let flags = Int32(IDN2_NFC_INPUT.rawValue | IDN2_NONTRANSITIONAL.rawValue)
        guard idn2_to_ascii_8z(host, &text, flags) == Int32(IDN2_OK.rawValue), let text else {
            throw OutboundRefusal.malformedURL("The host is not a well-formed international name.")
        }
        defer { idn2_free(text) }
        return String(cString: text).lowercased()
    }

    /// See curl.se/libcurl/c/curl_url_get.html
    private static func hostAsCurlReads(_ url: String) -> String? {
        guard let handle = curl_url() else { return nil }
        defer { curl_url_cleanup(handle) }
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK, curl_url_get(handle, CURLUPART_HOST, &text, 0) == CURLUE_OK,
            let text
        else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }

    /// By the rule of the WHATWG: such a last label makes the whole host a number.
    private static func isNumber(_ label: Substring) -> Bool {
        if label.utf8.allSatisfy(isDigit) { return true }
        return label.hasPrefix("0x")
            && label.utf8.dropFirst(2).allSatisfy { isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || [UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ".")].contains(byte)
    }

    /// Bytes beyond ASCII as escapes, as RFC 3987 §3.1 maps them.
    private static func escaped(_ text: Substring) -> [UInt8] {
        text.utf8.flatMap { byte -> [UInt8] in
            guard byte >= 0x80 else { return [byte] }
            let hex = Array("0123456789ABCDEF".utf8)
            return [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
        }
    }
}
