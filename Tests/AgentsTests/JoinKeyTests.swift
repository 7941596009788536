import Agents
import JSON
import OpenAI
import Server
import Testing

@Suite struct JoinKeyTests {
    private static let parser = JSONParser()

    private static func read(_ json: String) throws -> NewJoinKey {
        try RequestDocument.read(Array(json.utf8), parser) { try JoinKeyBodies.new($0) }
    }

    @Test func aWholeKeyIsReadAndAnEmptyOneIsUsual() throws {
        let key = try Self.read(
            """
            {"name": "gpu", "role": "execution", "region": "us-east-1", "expires_in_hours": 720, "supported_tiers": ["free"],
             "router_addr": "tcp://mesh.example:5555", "max_concurrent_requests": 8}
            """)
        var expected = NewJoinKey()
        (expected.name, expected.role, expected.region, expected.lifetime) = ("gpu", .execution, "us-east-1", 2_592_000)
        (expected.supportedTiers, expected.routerAddress, expected.maxConcurrent) = (["free"], "tcp://mesh.example:5555", 8)
        #expect(key == expected)
        #expect(try Self.read(#"{"name": null, "expires_in_seconds": null}"#) == NewJoinKey())
        #expect(NewJoinKey().lifetime == 86_400 && NewJoinKey().role == .inference)
        #expect(try Self.read(#"{"expires_in_seconds": 300}"#).lifetime == 300)
    }

    static let refused: [(String, String)] = [
        (#"{"name": ""}"#, "name"), (#"{"name": "  "}"#, "name"), (#"{"name": 1}"#, "name"), (#"{"name": "a\nb"}"#, "name"),
        (#"{"role": "admin"}"#, "role"), (#"{"region": ""}"#, "region"), (#"{"region": "a b"}"#, "region"),
        (#"{"region": "a:b"}"#, "region"),
        (#"{"region": "\#(String(repeating: "x", count: 25))"}"#, "region"), (#"{"region": "é"}"#, "region"),
        (#"{"expires_in_hours": 0}"#, "expires_in_hours"), (#"{"expires_in_hours": 721}"#, "expires_in_hours"),
        (#"{"expires_in_hours": 1.5}"#, "expires_in_hours"), (#"{"expires_in_seconds": 299}"#, "expires_in_seconds"),
        (#"{"expires_in_seconds": 2592001}"#, "expires_in_seconds"),
        (#"{"expires_in_hours": 1, "expires_in_seconds": 300}"#, "expires_in_seconds"),
        (#"{"supported_tiers": []}"#, "supported_tiers"), (#"{"supported_tiers": ["a", "a"]}"#, "supported_tiers"),
        (#"{"supported_tiers": [1]}"#, "supported_tiers[0]"), (#"{"supported_tiers": "free"}"#, "supported_tiers"),
        (#"{"max_concurrent_requests": -1}"#, "max_concurrent_requests"),
        (#"{"max_concurrent_requests": 4097}"#, "max_concurrent_requests"),
        (#"{"router_addr": "https://mesh:5555"}"#, "router_addr"), (#"{"router_addr": "tcp://mesh"}"#, "router_addr"),
        (#"{"router_addr": "tcp://:5555"}"#, "router_addr"), (#"{"router_addr": "tcp://mesh:0"}"#, "router_addr"),
        (#"{"router_addr": "tcp://mesh:70000"}"#, "router_addr"), (#"{"router_addr": "tcp://me sh:5555"}"#, "router_addr"),
        (#"{"expires_in_hour": 1}"#, "expires_in_hour"),
    ]

    @Test(arguments: refused.indices)
    func aBadMemberIsNamed(index: Int) {
        let (json, param) = Self.refused[index]
        do {
            _ = try Self.read(json)
            Issue.record("\(json) was read")
        } catch {
            let found = (error as? any APIErrorConvertible)?.apiError
            #expect(found?.param == param && found?.code.status == 400)
        }
    }

    @Test func valuesAreWellFormedDifferAndAreNotPrinted() throws {
        let keys = (0..<100).compactMap { _ in JoinKeyText.random(projectSlug: "acme") }
        #expect(Set(keys.map(\.value)).count == 100)
        for key in keys {
            #expect(JoinKeyText(key.value) == key && key.value.hasPrefix("xjk_acme_") && key.value.utf8.count == 52)
            #expect(!"\(key)".contains(key.value))
        }
        let good = try #require(keys.first).value
        for other in [
            "", "xjk_", "xero" + good.dropFirst(3), String(good.dropLast()), good + "x", " " + good, "xjk_Acme" + good.dropFirst(8),
        ] {
            #expect(JoinKeyText(other) == nil)
        }
    }
}
