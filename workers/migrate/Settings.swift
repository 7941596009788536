import Accounts
import Addresses
import ArgumentParser
import Configuration
import Crypto
import Foundation
import HTTPClient
import Jobs
import Logging
import OpenAI
import Postgres
import Redis
import Server
import Tenancy

/// What the commands need of the configuration.
struct Settings {
    private let configuration: Configuration

    init() throws {
        configuration = try Configuration.load()
        if configuration.databaseURL.isEmpty { throw Failure("database.url: missing (XEROTIER_DATABASE_URL)") }
    }

    var redisSocket: String? { configuration.redisSocket.isEmpty ? nil : configuration.redisSocket }

    var timeScale: Double { configuration.timeScale }

    /// As the owner of the tables.
    func connectAsOwner() throws -> Connection { try Connection(url: configuration.databaseURL, options: options) }

    var system: SystemDatabase { SystemDatabase(url: configuration.databaseURL, size: 1, options: options, afterCommit: ring) }
    var tenants: TenantDatabase { TenantDatabase(url: configuration.databaseURL, size: 1, options: options, afterCommit: ring) }

    /// Tells workers of jobs, where Redis is configured; elsewhere the sweeper does.
    private var ring: AfterCommit {
        guard let socket = redisSocket else { return { _ in } }
        return JobBell(redis: RedisPool(socket: socket, size: 1), logger: Logger(label: "migrate")).ring
    }

    private var options: ConnectionOptions {
        var options = ConnectionOptions()
        options.applicationName = "migrate"
        // Migrations may take long, so the server's time limit is wide.
        options.statementTimeoutMilliseconds = 3_600_000
        return options
    }

    func masterKeys() throws -> MasterKeys {
        try MasterKeys(current: try encryptionKey(), previous: configuration.previousEncryptionKey)
    }

    func sealing() throws -> Sealing {
        Sealing(keys: DataKeys(database: system, masters: try masterKeys()))
    }

    /// Which URLs may be stored, as the gateways decide it when they call them.
    var outbound: OutboundGuard {
        OutboundGuard(
            allowHTTP: configuration.egressAllowHTTP, ports: configuration.egressPorts,
            allowRanges: configuration.egressAllowCIDRs.compactMap { IPRange($0) }, allowHosts: configuration.egressAllowHosts,
            ownHosts: configuration.egressOwnHosts)
    }

    /// Opens what was sealed before there were data keys.
    func legacyEnvelope() throws -> LegacyEnvelope { try LegacyEnvelope(masterKey: try encryptionKey()) }

    private func encryptionKey() throws -> String {
        if configuration.encryptionKey.isEmpty {
            throw Failure("completion.encryption_key: missing (XEROTIER_COMPLETION_ENCRYPTION_KEY)")
        }
        return configuration.encryptionKey
    }
}

extension AuditActor {
    /// The operator, as the audit log names them.
    static let migrate = AuditActor.system("migrate")
}

/// A failure as the operator reads it.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// Runs `body` on a connection of the project with this slug and words its errors for the command line.
func withProject(_ slug: String, _ body: (TenantConnection, Settings) throws -> Void) throws {
    try withSettings { settings in
        let project = try settings.system.withConnection { try $0.requireProject(slug: slug) }
        try settings.tenants.withConnection(of: project) { try body($0, settings) }
    }
}

/// Runs `body` and words its errors for the command line.
func withSettings(_ body: (Settings) throws -> Void) throws {
    do {
        try body(try Settings())
    } catch let error as SealingError {
        throw Failure(error.description)
    } catch let error as APIErrorConvertible {
        throw Failure(text(of: error.apiError))
    } catch let error as PostgresError where error.sqlState == "42P01" {
        throw Failure("The database has no tables yet: run `migrate up` first.")
    }
}

/// Names the option of a field: `limits.max_tokens` came from `--limits`, `upstream.url` from `--upstream-url`.
private func text(of error: APIError) -> String {
    guard let param = error.param.map({ String($0.prefix { $0 != "[" }) }) else { return error.message }
    let parts = param.split(separator: ".").map(String.init)
    let candidates = [parts.first, parts.joined(separator: "-"), parts.last].compactMap { $0?.replacingOccurrences(of: "_", with: "-") }
    let option = Options.renamed[param] ?? candidates.first(where: Options.all.contains)
    return option.map { "--\($0): \(error.message)" } ?? error.message
}

/// The names of options that fields come from.
enum Options {
    static let all: Set<String> = [
        "project", "name", "scopes", "endpoint", "expires-at", "slug", "tier", "model", "task-mode", "upstream-url", "upstream-model",
        "health-path", "header", "timeout-ms", "max-concurrent", "context-length", "limits", "defaults", "status", "price-nano-per-mtok",
        "tokens-per-minute", "requests-per-minute", "burst-floor", "request-timeout-s", "idle-stream-s", "concurrent", "queue-wait-s",
        "batch-width", "priority", "node-price-nano", "max-model-bytes", "max-endpoints", "max-models", "tokens-per-month",
        "hot-retention-s",
        "cold-retention-s", "email", "allow", "block", "requests", "window-seconds", "tokens", "tiers",
    ]
    static let renamed = [
        "upstream.urls": "upstream-url", "upstream.headers": "header", "upstream.api_key": "upstream-key-env", "supported_tiers": "tiers",
    ]
}

/// Prints one JSON document.
func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
