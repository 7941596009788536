import Addresses
import Foundation

/// One row of the table of settings: its key, and how it is read and written.
struct Setting: Sendable {
    let key: String
    let isSecret: Bool
    let apply: @Sendable (String, inout Configuration) throws -> Void
    let read: @Sendable (Configuration) -> String

    var environmentName: String { "XEROTIER_" + key.uppercased().replacing(".", with: "_") }

    /// Variables that name no setting: they are for scripts and tests, or say where the file is.
    static let environmentOnly: Set<String> = [
        "XEROTIER_CONFIG", "XEROTIER_SHARED", "XEROTIER_BASE_URL", "XEROTIER_HTTP_URL", "XEROTIER_API_KEY", "XEROTIER_PROJECT",
        "XEROTIER_ENDPOINT", "XEROTIER_CA_FILE", "XEROTIER_DEMO_UPSTREAM", "XEROTIER_DEMO_MODEL", "XEROTIER_ENGINE_URL",
        "XEROTIER_ENGINE_EMBEDDINGS_URL", "XEROTIER_ENGINE_RERANK_URL", "XEROTIER_MIGRATE", "XEROTIER_STACK_DIR",
        "XEROTIER_STACK_PORT_BASE", "XEROTIER_TEST_UPSTREAM_PORTS", "XEROTIER_VENV", "XEROTIER_FUZZ_REQUESTS", "XEROTIER_FUZZ_SEED",
        "XEROTIER_ADMIN_KEY", "XEROTIER_PROJECT_B", "XEROTIER_API_KEY_B", "XEROTIER_EMBEDDINGS_ENDPOINT", "XEROTIER_RERANK_ENDPOINT",
    ]

    static let all: [Setting] = [
        path("state.dir", \.stateDirectory),
        path("runtime.dir", \.runtimeDirectory),
        key32("completion.encryption_key", \.encryptionKey),
        key32("completion.previous_encryption_key", \.previousEncryptionKey),
        string("database.url", \.databaseURL, isSecret: true),
        integer("database.pool", \.databasePool, 1...256),
        path("redis.socket", \.redisSocket),
        integer("redis.pool", \.redisPool, 1...1024),
        Setting(
            key: "store.url", isSecret: false,
            apply: { text, configuration in
                guard text.wholeMatch(of: /https?:\/\/[A-Za-z0-9.-]+(:[0-9]{1,5})?/) != nil else {
                    throw ConfigurationError("store.url: must be an origin such as https://s3.example.com")
                }
                configuration.store.url = text
            }, read: { $0.store.url }),
        string("store.bucket", \.store.bucket),
        string("store.access_key", \.store.accessKey),
        string("store.secret_key", \.store.secretKey, isSecret: true),
        string("store.region", \.store.region),
        choice("store.signature", \.store.signature, ["v4", "v2"]),
        choice("gateway.role", \.gateway.role, ["inference", "platform", "uploads"]),
        integer("gateway.streams", \.gateway.streams, 2...16_384),
        integer("gateway.processes", \.gateway.processes, 1...64),
        integer("gateway.nginx_workers", \.gateway.nginxWorkers, 1...256),
        integer("gateway.number", \.gateway.number, 0...63),
        integer("gateway.metrics_port", \.gateway.metricsPort, 0...65_000),
        string("gateway.access_log", \.gateway.accessLog),
        integer("worker.metrics_port", \.workerMetricsPort, 0...65_000),
        Setting(
            key: "public.url", isSecret: false,
            apply: { text, configuration in
                guard text.wholeMatch(of: /https?:\/\/[A-Za-z0-9.\[\]:-]+/) != nil else {
                    throw ConfigurationError("public.url: must be an origin such as https://api.example.com")
                }
                configuration.publicURL = text
            }, read: { $0.publicURL }),
        list("egress.allow_hosts", \.egressAllowHosts, of: "host:port") {
            $0.wholeMatch(of: /(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}/) == nil ? nil : $0
        },
        choice("egress.allow_http", \.egressAllowHTTP, ["true": true, "false": false, "1": true, "0": false]),
        list("egress.ports", \.egressPorts, of: "a port") { Int($0).flatMap { (1...65_535).contains($0) ? $0 : nil } },
        list("egress.allow_cidrs", \.egressAllowCIDRs, of: "a range such as 10.0.0.0/8") { IPRange($0) == nil ? nil : $0 },
        list("egress.own_hosts", \.egressOwnHosts, of: "a host") { $0.wholeMatch(of: /[0-9a-zA-Z.:-]+/) == nil ? nil : $0 },
        choice("cors.mode", \.corsMode, ["proxy", "self"]),
        choice("billing.provider", \.billing.provider, ["manual", "stripe"]),
        string("billing.stripe_url", \.billing.stripeURL),
        string("billing.stripe_secret_key", \.billing.stripeSecretKey, isSecret: true),
        list("billing.stripe_webhook_secrets", \.billing.stripeWebhookSecrets, of: "a secret", isSecret: true) { $0.isEmpty ? nil : $0 },
        choice("mail.driver", \.mail.driver, ["spool", "smtp"]),
        path("mail.spool", \.mail.spool),
        string("mail.from", \.mail.from),
        string("mail.url", \.mail.url),
        string("mail.user", \.mail.user),
        string("mail.password", \.mail.password, isSecret: true),
        choice("mail.tls", \.mail.tls, ["required", "off"]),
        key32("mesh.secret_key", \.mesh.secretKey),
        Setting(
            key: "mesh.listen", isSecret: false,
            apply: { text, configuration in
                let parts = text.wholeMatch(of: /tcp:\/\/(?:\*|\[[0-9a-fA-F:]+\]|[0-9.]+):([0-9]{1,5})/)
                guard parts.flatMap({ UInt16($0.1) }) != nil else {
                    throw ConfigurationError("mesh.listen: must be such as tcp://*:5555")
                }
                configuration.mesh.listen = text
            }, read: { $0.mesh.listen }),
        list("mesh.addresses", \.mesh.addresses, of: "an address such as tcp://mesh.example.com:5555") {
            let parts = $0.wholeMatch(of: /tcp:\/\/(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})/)
            return parts.flatMap { UInt16($0.1) } == nil ? nil : $0
        },
        Setting(
            key: "mesh.region", isSecret: false,
            apply: { text, configuration in
                guard text.wholeMatch(of: /[!-9;-~]{1,24}/) != nil else {
                    throw ConfigurationError("mesh.region: 1 to 24 ASCII characters without spaces and colons")
                }
                configuration.mesh.region = text
            }, read: { $0.mesh.region }),
        integer("mesh.processes", \.mesh.processes, 1...64),
        integer("mesh.number", \.mesh.number, 0...63),
        path("router.file", \.mesh.routerFile),
        Setting(
            key: "router.seed", isSecret: false,
            apply: { text, configuration in
                guard let seed = UInt64(text) else { throw ConfigurationError("router.seed: must be a whole number") }
                configuration.mesh.seed = seed
            }, read: { $0.mesh.seed.map { "\($0)" } ?? "" }),
        list("trusted.proxies", \.trustedProxies, of: "a range such as 10.0.0.0/8") { IPRange($0) == nil ? nil : $0 },
        Setting(
            key: "time.scale", isSecret: false,
            apply: { text, configuration in
                guard let scale = Double(text), scale > 0, scale <= 1 else {
                    throw ConfigurationError("time.scale: must be above 0 and at most 1")
                }
                configuration.timeScale = scale
            }, read: { "\($0.timeScale)" }),
        seconds("sweep.seconds", \.sweepSeconds),
        seconds("rollup.seconds", \.rollupSeconds),
        seconds("idempotency.lease_seconds", \.idempotencyLeaseSeconds),
        choice("log.level", \.logLevel, ["trace", "debug", "info", "notice", "warning", "error", "critical"]),
    ]

    private typealias Path<Value> = WritableKeyPath<Configuration, Value> & Sendable

    private static func string(_ key: String, _ path: Path<String>, isSecret: Bool = false) -> Setting {
        Setting(
            key: key, isSecret: isSecret,
            apply: { text, configuration in
                if text.isEmpty { throw ConfigurationError("\(key): must not be empty") }
                configuration[keyPath: path] = text
            }, read: { $0[keyPath: path] })
    }

    /// Values between commas.
    private static func list<Value: Sendable>(
        _ key: String, _ path: Path<[Value]>, of kind: String, isSecret: Bool = false, _ read: @escaping @Sendable (String) -> Value?
    ) -> Setting {
        Setting(
            key: key, isSecret: isSecret,
            apply: { text, configuration in
                configuration[keyPath: path] = try text.split(separator: ",").map { part in
                    let item = part.filter { $0 != " " }
                    guard let value = read(item) else { throw ConfigurationError("\(key): '\(isSecret ? "…" : item)' is not \(kind)") }
                    return value
                }
            }, read: { $0[keyPath: path].map { "\($0)" }.joined(separator: ",") })
    }

    /// An address, perhaps with a number of bits.
    private static func choice<Value: Equatable & Sendable>(_ key: String, _ path: Path<Value>, _ values: KeyValuePairs<String, Value>)
        -> Setting
    {
        let values = Array(values)
        return Setting(
            key: key, isSecret: false,
            apply: { text, configuration in
                guard let value = values.first(where: { $0.key == text })?.value else {
                    throw ConfigurationError("\(key): must be one of \(values.map(\.key).joined(separator: ", "))")
                }
                configuration[keyPath: path] = value
            }, read: { configuration in "\(configuration[keyPath: path])" })
    }

    private static func key32(_ key: String, _ path: Path<String>) -> Setting {
        Setting(
            key: key, isSecret: true,
            apply: { text, configuration in
                guard Data(base64Encoded: text)?.count == 32 else { throw ConfigurationError("\(key): must be 32 bytes in base64") }
                configuration[keyPath: path] = text
            }, read: { $0[keyPath: path] })
    }

    private static func path(_ key: String, _ path: Path<String>) -> Setting {
        Setting(
            key: key, isSecret: false,
            apply: { text, configuration in
                guard text.hasPrefix("/") else { throw ConfigurationError("\(key): must be an absolute path") }
                configuration[keyPath: path] = text
            }, read: { $0[keyPath: path] })
    }

    /// Above 0 and at most an hour; absent = the default of who reads it.
    private static func seconds(_ key: String, _ path: Path<Double?>) -> Setting {
        Setting(
            key: key, isSecret: false,
            apply: { text, configuration in
                guard let seconds = Double(text), seconds > 0, seconds <= 3_600 else {
                    throw ConfigurationError("\(key): must be above 0 and at most 3600")
                }
                configuration[keyPath: path] = seconds
            }, read: { $0[keyPath: path].map { "\($0)" } ?? "" })
    }

    private static func choice(_ key: String, _ path: Path<String>, _ allowed: [String]) -> Setting {
        Setting(
            key: key, isSecret: false,
            apply: { text, configuration in
                guard allowed.contains(text) else { throw ConfigurationError("\(key): must be one of \(allowed.joined(separator: ", "))") }
                configuration[keyPath: path] = text
            }, read: { $0[keyPath: path] })
    }

    private static func integer(_ key: String, _ path: Path<Int>, _ range: ClosedRange<Int>) -> Setting {
        Setting(
            key: key, isSecret: false,
            apply: { text, configuration in
                guard let value = Int(text), range.contains(value) else {
                    throw ConfigurationError("\(key): must be a whole number from \(range.lowerBound) to \(range.upperBound)")
                }
                configuration[keyPath: path] = value
            }, read: { "\($0[keyPath: path])" })
    }
}
