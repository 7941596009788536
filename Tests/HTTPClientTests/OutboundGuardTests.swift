import Addresses
import HTTPClient
import Testing

@Suite struct OutboundGuardTests {
    /// What the guard says of a URL; nil = it may be called.
    private static func refusal(_ text: String, _ outbound: OutboundGuard = OutboundGuard()) -> OutboundRefusal? {
        do throws(OutboundRefusal) {
            _ = try outbound.check(text)
            return nil
        } catch {
            return error
        }
    }

    private static func isBlocked(_ refusal: OutboundRefusal?) -> Bool { if case .blocked = refusal { true } else { false } }
    private static func isMalformed(_ refusal: OutboundRefusal?) -> Bool { if case .malformedURL = refusal { true } else { false } }

    @Test(arguments: [
        "https://example.com", "https://example.com/", "https://EXAMPLE.com:443/a?b=c#d", "https://example.com:8443/x",
        "https://example.com:80",
        "https://8.8.8.8/", "https://[2606:4700::1111]/", "https://a-b.example.com./", "https://bücher.example/",
        "https://xn--bcher-kva.example/",
        "https://1.example/", "https://0x7f.example/", "https://[::ffff:8.8.8.8]/", "https://[64:ff9b::808:808]/",
    ])
    func publicURLsMayBeCalled(text: String) { #expect(Self.refusal(text) == nil) }

    /// One private address in every notation that some reader understands.
    @Test(arguments: [
        // Dotted decimal, octal, hexadecimal and mixed.
        "127.0.0.1", "0177.0.0.1", "0177.0.0.01", "0x7f.0.0.1", "0x7F.0x0.0x0.0x1", "127.0.0.0x1", "00000177.0.0.1", "127.000.000.001",
        // Whole numbers and short forms.
        "2130706433", "0x7f000001", "017700000001", "127.1", "127.0.1", "0", "0x", "0.0.0.0", "1", "4294967297",
        // A final dot.
        "127.0.0.1.", "2130706433.", "localhost.", "localhost", "LOCALHOST", "a.localhost",
        // Other private ranges.
        "10.0.0.1", "127.9.8.7", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.88.99.1", "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1",
        // IPv6 and IPv4 within it: mapped, compatible, NAT64, 6to4, Teredo.
        "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fc00::1]", "[fdff::1]", "[fe80::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::a00:1]",
        "[2002:7f00:1::]", "[2002:a00:1::1]", "[2001:0:4136:e378:8000:63bf:f5ff:fffe]", "[fec0::1]", "[3fff::1]", "[2001:10::1]",
        "[2001:20::1]",
        "[5f00::1]",
        // Zones, and what is no address in brackets.
        "[fe80::1%eth0]", "[fe80::1%25eth0]", "[::1%lo]", "[127.0.0.1]", "[v1.fe80::1]",
        // Digits, dots and letters of other scripts.
        "１２７.0.0.1", "１２７．０．０．１", "127。0。0。1", "①②⑦.0.0.1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "0ｘ7f000001",
        // Escapes.
        "%31%32%37.0.0.1", "127.0.0.1%00", "localhos%74",
    ])
    func aPrivateHostIsRefusedInEveryNotation(host: String) {
        let refusal = Self.refusal("https://\(host)/")
        #expect(Self.isBlocked(refusal), "\(String(describing: refusal))")
        #expect(Self.refusal("https://\(host):8443/x") != nil)
    }

    @Test(arguments: [
        "https://user@example.com/", "https://user:pw@example.com/", "https://example.com@127.0.0.1/", "https://127.0.0.1:80@example.com/",
        "https://@example.com/", "https://example.com:pw@evil.example/",
        // Plain http and other ports.
        "http://example.com/", "https://example.com:22/", "https://example.com:6379/", "https://example.com:444/",
    ])
    func userNamesSchemesAndPortsAreRefused(text: String) { #expect(Self.isBlocked(Self.refusal(text)), "\(text)") }

    @Test(arguments: [
        "", "example.com", "//example.com", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "https:/example.com",
        "https://",
        "https:///example.com/", "https://:443/", "https://example.com:/", "https://example.com:0/", "https://example.com:65536/",
        "https://example.com:+443/", "https://example.com:443:80/", "https://exa mple.com/", "https://example.com/\r\nX: y",
        "https://example.com\\@evil/",
        "https://example.com\t/", "https://a..b/", "https://.example.com/", "https://example.com../", "https://[::1", "https://exa$mple/",
        "https://\(String(repeating: "a", count: 64)).example/", "https://\(String(repeating: "a.", count: 130))example/", "https://a,b/",
        "https://example.com\u{0}/", "https://example\u{202E}moc/", "https://\u{1F600}\u{200D}/",
    ])
    func whatIsNoPlainURLIsMalformed(text: String) {
        #expect(Self.isMalformed(Self.refusal(text)), "\(text): \(String(describing: Self.refusal(text)))")
    }

    @Test func hostsAreReadAsTheConnectionReadsThem() throws {
        let url = try OutboundURL("HTTPS://Bücher.Example.:8443?q=ü#frag")
        #expect(url.host == "xn--bcher-kva.example" && url.port == 8443 && url.target == "/?q=%C3%BC")
        #expect(url.description == "https://xn--bcher-kva.example:8443/?q=%C3%BC" && url.authority == "xn--bcher-kva.example:8443")
        #expect(try OutboundURL("http://[2606:4700:0::1111]/").description == "http://[2606:4700::1111]/")
        #expect(try OutboundURL("https://example.com:443/a").origin == "https://example.com")
    }

    @Test func theOperatorOpensPortsRangesHostsAndPlainHTTP() {
        let outbound = OutboundGuard(
            allowHTTP: true, ports: [9000], allowRanges: [IPRange("10.1.0.0/16")!, IPRange("fd00::/8")!],
            allowHosts: ["Engine.internal:8000", "[::1]:8001"])
        for text in [
            "http://example.com/", "https://example.com:9000", "https://10.1.2.3/", "https://[::ffff:10.1.2.3]/", "https://[fd00::1]/",
            "http://engine.internal:8000/v1", "http://ENGINE.internal.:8000/v1", "http://[0::1]:8001/",
        ] { #expect(Self.refusal(text, outbound) == nil, "\(text)") }
        for text in [
            "https://10.2.0.1/", "https://engine.internal:8001/", "http://[::1]:8002/", "https://example.com:9001/", "http://0x0a.1.2.3/",
            "http://user@engine.internal:8000/",
        ] { #expect(Self.refusal(text, outbound) != nil, "\(text)") }
    }

    @Test func theDeploymentsOwnHostsAreRefused() throws {
        let outbound = OutboundGuard(ownHosts: ["API.example.com", "8.8.4.4"], resolve: { _, _ in [IPAddress("8.8.4.4")!] })
        #expect(Self.isBlocked(Self.refusal("https://api.example.com/", outbound)))
        #expect(Self.isBlocked(Self.refusal("https://api.example.com./", outbound)))
        #expect(Self.isBlocked(Self.refusal("https://8.8.4.4/", outbound)))
        let alias = try outbound.check("https://alias.example.org/")
        #expect(throws: OutboundRefusal.blocked("The host has an address that is not public.")) {
            try outbound.vet(alias, within: .seconds(1))
        }
    }

    @Test(arguments: [
        ["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["8.8.8.8", "::1"], ["2606:4700::1111", "::ffff:127.0.0.1"],
        ["8.8.8.8", "8.8.4.4", "169.254.169.254"],
    ])
    func onePrivateAddressAmongManyRefusesTheHost(addresses: [String]) throws {
        let outbound = OutboundGuard(resolve: { _, _ in addresses.compactMap { IPAddress($0) } })
        let url = try outbound.check("https://rebind.example/")
        do throws(OutboundRefusal) {
            _ = try outbound.vet(url, within: .seconds(1))
            Issue.record("\(addresses) were let through")
        } catch {
            #expect(Self.isBlocked(error))
            for address in addresses { #expect(!"\(error)".contains(address)) }
        }
    }

    @Test func aHostIsLookedUpAgainAfterAWhileAndThenMayBeRefused() throws {
        let answers = LookUps(["8.8.8.8", "127.0.0.1", "8.8.8.8"])
        let outbound = OutboundGuard(resolve: { _, _ in [answers.next()] })
        let pinned = PinnedHost(try outbound.check("https://flip.example/"), outbound, limit: .seconds(1), lifetime: .milliseconds(50))
        let first = try pinned.pin()
        #expect(try first != nil && pinned.pin() === first)
        let end = ContinuousClock.now + .milliseconds(60)
        while .now < end {}
        #expect(throws: OutboundRefusal.self) { try pinned.pin() }
        // A refusal is not remembered.
        #expect(try pinned.pin() != nil)
        #expect(answers.count == 3)
    }

    @Test func redirectsResolveAgainstTheURLBeforeAndNeverLeaveHTTPS() throws {
        let url = try OutboundURL("https://example.com/a/b?c")
        #expect(try url.redirected(to: "/x").description == "https://example.com/x")
        #expect(try url.redirected(to: "x?y").description == "https://example.com/a/x?y")
        #expect(try url.redirected(to: "?y").description == "https://example.com/a/b?y")
        #expect(try url.redirected(to: "//other.example/x").description == "https://other.example/x")
        #expect(try url.redirected(to: "https://other.example").description == "https://other.example/")
        #expect(try url.redirected(to: "/x?to=http://other.example").host == "example.com")
        #expect(throws: OutboundRefusal.blocked("A redirect leads from https to http.")) { try url.redirected(to: "http://example.com/x") }
        #expect(throws: OutboundRefusal.self) { try url.redirected(to: "https://2130706433/") }
        #expect(throws: OutboundRefusal.self) { try url.redirected(to: "javascript:alert(1) ") }
        #expect(try OutboundURL("http://example.com/").redirected(to: "https://example.com/").scheme == "https")
    }

    @Test(arguments: [
        "Host", "content-length", "Transfer-Encoding", "CONNECTION", "Upgrade", "Proxy-Authorization", "proxy-x", "X-Forwarded-For",
        "x-forwarded-host", "Cookie", "Expect", "TE", "", "A B", "A:", "A\r\nB", "Ä",
    ])
    func headersOfTheConnectionCannotBeSet(name: String) { #expect(throws: OutboundRefusal.self) { try OutboundHeaders.check(name, "x") } }

    @Test(arguments: ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\u{0}b", "\u{7F}"])
    func aHeadersValueHoldsNoLineBreak(value: String) {
        #expect(throws: OutboundRefusal.header("X-A")) { try OutboundHeaders.check("X-A", value) }
    }

    @Test func otherHeadersMayBeSet() throws {
        for name in ["Authorization", "X-Team", "Accept", "x_y", "Content-Type"] { try OutboundHeaders.check(name, "some value\t") }
    }
}

/// Answers in turn. `@unchecked Sendable`: one test calls it on one thread.
private final class LookUps: @unchecked Sendable {
    private let answers: [String]
    private(set) var count = 0
    init(_ answers: [String]) { self.answers = answers }
    func next() -> IPAddress {
        count += 1
        return IPAddress(answers[count - 1])!
    }
}
