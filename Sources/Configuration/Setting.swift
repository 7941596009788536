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
        "XEROTIER_ENDPOINT", "XEROTIER_CA_FILE", "XEROTIER_DEMO_UPSTREAM", "XEROTIER_DEMO_MODEL", "XEROTIER_ENGINE_URL", "XEROTIER_MIGRATE",
        "XEROTIER_STACK_DIR", "XEROTIER_STACK_PORT_BASE", "XEROTIER_TEST_UPSTREAM_PORTS", "XEROTIER_VENV", "XEROTIER_FUZZ_REQUESTS",
        "XEROTIER_FUZZ_SEED",
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
        choice("gateway.role", \.gateway.role, ["inference", "platform"]),
        integer("gateway.streams", \.gateway.streams, 2...16_384),
        integer("gateway.processes", \.gateway.processes, 1...64),
        integer("gateway.nginx_workers", \.gateway.nginxWorkers, 1...256),
        integer("gateway.number", \.gateway.number, 0...63),
        integer("gateway.metrics_port", \.gateway.metricsPort, 0...65_000),
        string("gateway.access_log", \.gateway.accessLog),
        Setting(
            key: "egress.allow_hosts", isSecret: false,
            apply: { text, configuration in
                let hosts = text.split(separator: ",").map { $0.filter { $0 != " " } }
                for host in hosts where host.wholeMatch(of: /(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}/) == nil {
                    throw ConfigurationError("egress.allow_hosts: '\(host)' is not host:port")
                }
                configuration.egressAllowHosts = hosts
            }, read: { $0.egressAllowHosts.joined(separator: ",") }),
        Setting(
            key: "time.scale", isSecret: false,
            apply: { text, configuration in
                guard let scale = Double(text), scale > 0, scale <= 1 else {
                    throw ConfigurationError("time.scale: must be above 0 and at most 1")
                }
                configuration.timeScale = scale
            }, read: { "\($0.timeScale)" }),
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
