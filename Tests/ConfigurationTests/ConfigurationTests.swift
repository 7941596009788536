import Configuration
import Testing

@Suite struct ConfigurationTests {
    private static let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    private static let needed = [
        "XEROTIER_COMPLETION_ENCRYPTION_KEY": key, "XEROTIER_DATABASE_URL": "dbname=x", "XEROTIER_REDIS_SOCKET": "/run/redis.sock",
    ]

    @Test func sizesFollowFromOneSetting() throws {
        let configuration = try Configuration.load(environment: Self.needed.merging(["XEROTIER_GATEWAY_STREAMS": "64"]) { $1 })
        try configuration.checkGateway()
        #expect(configuration.gateway.threads == 128)
        #expect(configuration.gateway.connectionsPerWorker == 32)
        #expect(configuration.invariant == (128, 128))
    }

    @Test(arguments: [
        ("XEROTIER_GATEWAY_STREAM", "64", "XEROTIER_GATEWAY_STREAM: unknown setting"),
        ("XEROTIER_GATEWAY_STREAMS", "many", "gateway.streams: must be a whole number from 2 to 16384"),
        ("XEROTIER_TIME_SCALE", "0", "time.scale: must be above 0 and at most 1"),
        ("XEROTIER_COMPLETION_ENCRYPTION_KEY", "c2hvcnQ=", "completion.encryption_key: must be 32 bytes in base64"),
        ("XEROTIER_EGRESS_ALLOW_HOSTS", "127.0.0.1", "egress.allow_hosts: '127.0.0.1' is not host:port"),
        ("XEROTIER_EGRESS_ALLOW_HTTP", "maybe", "egress.allow_http: must be one of true, false, 1, 0"),
        ("XEROTIER_EGRESS_PORTS", "443,70000", "egress.ports: '70000' is not a port"),
        ("XEROTIER_MESH_LISTEN", "tcp://*:70000", "mesh.listen: must be such as tcp://*:5555"),
        (
            "XEROTIER_MESH_ADDRESSES", "tcp://mesh.example.com:70000",
            "mesh.addresses: 'tcp://mesh.example.com:70000' is not an address such as tcp://mesh.example.com:5555"
        ),
        ("XEROTIER_EGRESS_ALLOW_CIDRS", "10.0.0.0/33", "egress.allow_cidrs: '10.0.0.0/33' is not a range such as 10.0.0.0/8"),
        ("XEROTIER_EGRESS_ALLOW_CIDRS", "10.0.0.1/8", "egress.allow_cidrs: '10.0.0.1/8' is not a range such as 10.0.0.0/8"),
        ("XEROTIER_TRUSTED_PROXIES", "127.0.0.1", "trusted.proxies: '127.0.0.1' is not a range such as 10.0.0.0/8"),
        ("XEROTIER_EGRESS_ALLOW_CIDRS", "fd00::/8,10.1", "egress.allow_cidrs: '10.1' is not a range such as 10.0.0.0/8"),
        ("XEROTIER_COMPLETION_PREVIOUS_ENCRYPTION_KEY", "x", "completion.previous_encryption_key: must be 32 bytes in base64"),
        ("XEROTIER_LOG_LEVEL", "loud", "log.level: must be one of trace, debug, info, notice, warning, error, critical"),
    ])
    func badSettingsAreNamed(name: String, value: String, message: String) {
        let error = #expect(throws: ConfigurationError.self) {
            try Configuration.load(environment: Self.needed.merging([name: value]) { $1 })
        }
        #expect(error?.description == message)
    }

    @Test func aGatewayThatCannotCoverItsConnectionsIsRefused() throws {
        let configuration = try Configuration.load(environment: Self.needed.merging(["XEROTIER_GATEWAY_PROCESSES": "1"]) { $1 })
        let error = #expect(throws: ConfigurationError.self) { try configuration.checkGateway() }
        #expect(error?.description.contains("gateway.processes") == true)
    }

    @Test func theListingShowsNoSecrets() throws {
        let listing = try Configuration.load(environment: Self.needed).listing
        #expect(listing.contains("completion.encryption_key = (set)") && !listing.contains(Self.key) && !listing.contains("dbname"))
    }
}
