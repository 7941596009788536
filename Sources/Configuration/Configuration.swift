import Foundation
import Yams

/// What is wrong with a configuration, in words that name the key.
public struct ConfigurationError: Error, CustomStringConvertible, Equatable {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Every setting of our programs, from `xerotier.yaml` (its path in `XEROTIER_CONFIG`) and the environment, which wins.
///
/// A key `section.name` has the environment twin `XEROTIER_SECTION_NAME`. Unknown and bad ones are errors: nobody shall run with a typing error.
public struct Configuration: Sendable, Equatable {
    public var stateDirectory = "/var/lib/xerotier"
    public var runtimeDirectory = "/run/xerotier"
    /// The master key, 32 bytes in base64. Secret.
    public var encryptionKey = ""
    /// The master key before it, while a rotation goes on. Secret.
    public var previousEncryptionKey = ""
    /// A libpq URL or connection string. Secret.
    public var databaseURL = ""
    /// The most connections for each of the two roles, the tenants' and the system's.
    public var databasePool = 8
    public var redisSocket = ""
    public var redisPool = 64
    public var store = Store()
    public var gateway = Gateway()
    /// The origin at which clients reach the platform, such as `https://api.example.com`; empty = the one they call, by https.
    public var publicURL = ""
    /// `host:port` of upstreams the operator allows although they are private or plain http.
    public var egressAllowHosts: [String] = []
    /// Whether tenants' URLs may be plain http.
    public var egressAllowHTTP = false
    /// Ports of tenants' URLs beside 443, 80 and 8443.
    public var egressPorts: [Int] = []
    /// Ranges of addresses that tenants' URLs may lead to although they are not public; by plain http, too, where the URL names the address.
    public var egressAllowCIDRs: [String] = []
    /// Names and addresses of this deployment, which tenants' URLs may not lead to.
    public var egressOwnHosts: [String] = []
    /// Address ranges (CIDR) of the proxies in front of nginx whose X-Forwarded-For is believed; none = the header is ignored.
    public var trustedProxies: [String] = []
    /// Who writes the headers that browsers ask for: nginx (`proxy`), or the gateway where there is none (`self`).
    public var corsMode = "proxy"
    public var billing = Billing()
    public var mail = Mail()
    public var mesh = Mesh()
    public var timeScale = 1.0
    /// Where a worker shows its metrics, on 127.0.0.1; 0 = nowhere.
    public var workerMetricsPort = 0
    /// How often the sweeper looks, in seconds; nil = each half minute, scaled.
    public var sweepSeconds: Double?
    /// How often the billing worker rolls usage up, in seconds; nil = each five minutes, scaled.
    public var rollupSeconds: Double?
    /// How long a request with an Idempotency-Key counts as running when its gateway does not say so again, in seconds; nil = a minute, scaled.
    public var idempotencyLeaseSeconds: Double?
    public var logLevel = "info"

    public struct Gateway: Sendable, Equatable {
        public var role = "inference"
        /// Connections nginx may hold to all processes of the role together.
        public var streams = 1024
        public var processes = 2
        public var nginxWorkers = 2
        /// This process' number, from 0.
        public var number = 0
        public var metricsPort = 0
        public var accessLog = "-"

        /// Twice the streams: while nginx reloads, its old and its new workers both hold connections.
        public var threads: Int { 2 * streams }
        /// What one nginx worker may hold; `max_conns` in nginx's configuration.
        public var connectionsPerWorker: Int { streams / nginxWorkers }
    }

    /// The S3 store of bytes.
    public struct Store: Sendable, Equatable {
        /// Its origin; the bucket is the first part of the path. Empty = there is none, and what needs one is answered 503.
        public var url = ""
        public var bucket = "xerotier"
        public var accessKey = ""
        /// Secret.
        public var secretKey = ""
        /// Part of Signature V4; many stores take any.
        public var region = "us-east-1"
        /// How requests are signed: `v4`, or `v2` for stores that know only that.
        public var signature = "v4"
    }

    /// How customers pay (08 §7).
    public struct Billing: Sendable, Equatable {
        /// `manual` or `stripe`.
        public var provider = "manual"
        /// Of Stripe's API, without `/v1`.
        public var stripeURL = "https://api.stripe.com"
        /// Secret.
        public var stripeSecretKey = ""
        /// What signs callbacks; two while they are rotated. None = callbacks are not taken. Secret.
        public var stripeWebhookSecrets: [String] = []
    }

    public struct Mail: Sendable, Equatable {
        /// `spool` or `smtp`.
        public var driver = "spool"
        /// Where the spool is; empty = `mail` in the state directory.
        public var spool = ""
        /// The sender's address.
        public var from = "xerotier@localhost"
        /// `smtp://host:587` or `smtps://host:465`.
        public var url = ""
        public var user = ""
        /// Secret.
        public var password = ""
        /// `required`, or `off` for a server on the same machine.
        public var tls = "required"
    }

    /// Agents, which dial in from customers' machines (05 §11).
    public struct Mesh: Sendable, Equatable {
        /// 32 bytes in base64, of which the router's CURVE key and the key that signs agents' tokens are made; empty = no agent can enrol. Secret.
        public var secretKey = ""
        /// Where the router listens.
        public var listen = "tcp://*:5555"
        /// Where agents reach the router, such as `tcp://mesh.example.com:5555`.
        public var addresses: [String] = []
        /// The region of agents whose join key names none.
        public var region = "local"
        /// Router processes on this machine, which gateways choose among.
        public var processes = 1
        /// Of this router process, from 0.
        public var number = 0
        /// Path of `router.yaml`, which says how it chooses; empty = as by default. Read again on SIGHUP.
        public var routerFile = ""
        /// Makes its choices the same each time; for tests.
        public var seed: UInt64?
    }

    /// Where gateways reach a router process of this machine.
    public func meshSocket(_ number: Int) -> String { "\(runtimeDirectory)/mesh-\(number).sock" }

    /// Reads the file named in the environment, if any, and the environment.
    public static func load(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> Configuration {
        var values: [String: String] = [:]
        if let path = environment["XEROTIER_CONFIG"], !path.isEmpty {
            guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                throw ConfigurationError("XEROTIER_CONFIG: cannot read \(path)")
            }
            values = try parse(yaml: text)
        }
        for (name, value) in environment where name.hasPrefix("XEROTIER_") && !Setting.environmentOnly.contains(name) {
            guard let setting = Setting.all.first(where: { $0.environmentName == name }) else {
                throw ConfigurationError("\(name): unknown setting")
            }
            values[setting.key] = value
        }
        return try Configuration(values: values)
    }

    /// `section: {name: value}` to `section.name`; lists become comma-separated.
    static func parse(yaml: String) throws -> [String: String] {
        let document: Any?
        do { document = try Yams.load(yaml: yaml) } catch { throw ConfigurationError("xerotier.yaml: \(error)") }
        guard let document else { return [:] }
        guard let sections = document as? [String: Any] else {
            throw ConfigurationError("xerotier.yaml: the top must be a mapping of sections")
        }
        var values: [String: String] = [:]
        for (section, content) in sections {
            guard let members = content as? [String: Any] else { throw ConfigurationError("\(section): must be a mapping") }
            for (name, value) in members {
                let list = (value as? [Any])?.map { "\($0)" }.joined(separator: ",")
                values["\(section).\(name)"] = list ?? "\(value)"
            }
        }
        return values
    }

    init(values: [String: String]) throws {
        for (key, value) in values {
            guard let setting = Setting.all.first(where: { $0.key == key }) else { throw ConfigurationError("\(key): unknown setting") }
            try setting.apply(value, &self)
        }
    }

    /// Checks what a gateway needs, and that its threads cover every connection nginx can hold while one process restarts.
    public func checkGateway() throws {
        if encryptionKey.isEmpty { throw ConfigurationError("completion.encryption_key: missing (32 bytes in base64)") }
        if databaseURL.isEmpty { throw ConfigurationError("database.url: missing") }
        if redisSocket.isEmpty { throw ConfigurationError("redis.socket: missing") }
        if gateway.streams % gateway.nginxWorkers != 0 {
            throw ConfigurationError("gateway.streams: must be a multiple of gateway.nginx_workers (\(gateway.nginxWorkers))")
        }
        if gateway.number >= gateway.processes {
            throw ConfigurationError("gateway.number: must be below gateway.processes (\(gateway.processes))")
        }
        let (threads, connections) = invariant
        if threads < connections {
            throw ConfigurationError(
                "gateway.processes: \(threads) threads of \(gateway.processes - 1) processes do not cover the \(connections) connections nginx can hold; "
                    + "set at least 2")
        }
    }

    /// Threads that are left while one process restarts, and the connections of old and new nginx workers during a reload.
    public var invariant: (threads: Int, connections: Int) {
        (gateway.threads * (gateway.processes - 1), 2 * gateway.connectionsPerWorker * gateway.nginxWorkers)
    }

    /// The effective values, one `key = value` a line, without secrets.
    public var listing: String {
        var lines = Setting.all.map { setting in
            let value = setting.read(self)
            return "\(setting.key) = \(setting.isSecret && !value.isEmpty ? "(set)" : value)"
        }
        let (threads, connections) = invariant
        lines.append(
            "# \(gateway.threads) threads a process; threads x (processes - 1) = \(threads) cover \(connections) connections of nginx")
        return lines.joined(separator: "\n")
    }
}
