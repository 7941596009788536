import Addresses
import Server
import Testing

@Suite struct ClientAddressTests {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.0", false), ("192.168.1.128/25", "192.168.1.127", false),
        ("192.168.1.128/25", "192.168.1.255", true), ("192.0.2.7/32", "192.0.2.7", true), ("192.0.2.7/32", "192.0.2.6", false),
        ("0.0.0.0/0", "255.255.255.255", true), ("0.0.0.0/0", "2001:db8::1", false), ("::/0", "2001:db8::1", true),
        ("::/0", "10.0.0.1", false), ("2001:db8::/33", "2001:db8:7fff::1", true), ("2001:db8::/33", "2001:db8:8000::1", false),
        ("::1/128", "::1", true), ("10.0.0.0/8", "::ffff:10.0.0.1", true), ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "::ffff:11.0.0.0", false), ("fe80::/10", "febf::1", true), ("::/0", "::ffff:10.0.0.1", false),
    ])
    func anAddressIsInItsRange(range: String, address: String, isInside: Bool) throws {
        let range = try #require(IPRange(range))
        #expect(try #require(ClientAddress(address)).isInside(range) == isInside)
    }

    @Test(arguments: [
        "", "/", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.0/8 ", " 10.0.0.0/8",
        "10.0.0/8", "10.0.0.256/32", "010.0.0.0/8", "10.0.0.1/8", "0x0a.0.0.0/8", "2001:db8::/129", "2001:db8::1/64", "2001:db8:::/32",
        "fe80::1%eth0/64", "example.com/8", "10.0.0.0/8\n", "10.0.0.0/٨", "1/8", "10.0.0.0/1000", "::ffff:10.0.0.1/104", "null", "*",
    ])
    func nonsenseIsNoRange(text: String) { #expect(IPRange(text) == nil) }

    @Test(
        arguments: [
            (["10.0.0.0/8"], [], "10.1.1.1", true), (["10.0.0.0/8"], [], "192.0.2.1", false), ([], [], "192.0.2.1", true),
            ([], ["192.0.2.0/24"], "192.0.2.1", false), ([], ["192.0.2.0/24"], "198.51.100.1", true),
            (["10.0.0.0/8"], ["10.1.0.0/16"], "10.1.1.1", false), (["10.1.1.1/32"], ["10.0.0.0/8"], "10.1.1.1", false),
            (["10.0.0.0/8", "2001:db8::/32"], [], "2001:db8::5", true), (["2001:db8::/32"], [], "10.0.0.1", false),
        ] as [([String], [String], String, Bool)])
    func blockWinsAndAnEmptyListAllowsAll(allow: [String], block: [String], address: String, isAdmitted: Bool) throws {
        let filter = IPFilter(allow: allow.compactMap { IPRange($0) }, block: block.compactMap { IPRange($0) })
        #expect(filter.admits(try #require(ClientAddress(address))) == isAdmitted)
    }

    /// Each line: the trusted proxies, the peer, X-Forwarded-For, and whose request it is.
    @Test(
        arguments: [
            ("", "192.0.2.1", "10.0.0.1", "192.0.2.1"),  // nobody is trusted, so the header says nothing
            ("127.0.0.0/8", "192.0.2.1", "10.0.0.1", "192.0.2.1"),  // it does not come from a proxy
            ("127.0.0.0/8", "127.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("127.0.0.0/8", "127.0.0.1", "10.0.0.1, 192.0.2.9", "192.0.2.9"),  // the client wrote the first hop itself
            ("127.0.0.0/8,192.0.2.0/24", "127.0.0.1", "10.0.0.1,192.0.2.9", "10.0.0.1"),
            ("127.0.0.0/8", "127.0.0.1", nil, "127.0.0.1"), ("127.0.0.0/8", "127.0.0.1", "127.0.0.2, 127.0.0.3", "127.0.0.2"),
            ("127.0.0.0/8", "127.0.0.1", "10.0.0.1, nonsense", nil), ("127.0.0.0/8", "127.0.0.1", "nonsense, 10.0.0.1", "10.0.0.1"),
            ("127.0.0.0/8", "127.0.0.1", "10.0.0.1, unknown", nil), ("127.0.0.0/8", "unix:", "10.0.0.1", nil), ("", nil, nil, nil),
            ("::1/128", "::1", "2001:db8::7", "2001:db8::7"), ("127.0.0.0/8", "::ffff:127.0.0.1", "10.0.0.1", "10.0.0.1"),
        ] as [(String, String?, String?, String?)])
    func theClientIsTheLastHopThatNoProxyStandsFor(trusted: String, peer: String?, forwarded: String?, client: String?) {
        let proxies = TrustedProxies(trusted.split(separator: ",").compactMap { IPRange($0) })
        #expect(proxies.clientAddress(peer: peer, forwardedFor: forwarded)?.description == client)
    }
}
