import Accounts
import ArgumentParser
import Crypto
import Foundation
import Jobs
import OpenAI
import Postgres

/// What the commands need from the environment.
struct Settings {
    var databaseURL: String
    var redisSocket: String?

    private static let databaseVariable = Vendor.environmentPrefix + "DATABASE_URL"
    private static let redisVariable = Vendor.environmentPrefix + "REDIS_SOCKET"
    private static let keyVariable = Vendor.environmentPrefix + "COMPLETION_ENCRYPTION_KEY"

    init() throws {
        let environment = ProcessInfo.processInfo.environment
        guard let url = environment[Self.databaseVariable], !url.isEmpty else { throw Failure("\(Self.databaseVariable) is not set.") }
        databaseURL = url
        redisSocket = environment[Self.redisVariable].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Migrations may take long, so the server's time limit is wide.
    func connect() throws -> Connection {
        var options = ConnectionOptions()
        options.statementTimeoutMilliseconds = 3_600_000
        options.applicationName = "migrate"
        return try Connection(url: databaseURL, options: options)
    }

    func sealing() throws -> Sealing {
        guard let key = ProcessInfo.processInfo.environment[Self.keyVariable], !key.isEmpty else {
            throw Failure("\(Self.keyVariable) is not set.")
        }
        do {
            return try Sealing(base64: key)
        } catch {
            throw Failure("\(Self.keyVariable) is not 32 bytes in base64.")
        }
    }
}

/// A failure as the operator reads it.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

extension ParsableCommand {
    /// Runs `body` on a connection and words its errors for the command line.
    func withConnection(_ body: (Connection, Settings) throws -> Void) throws {
        do {
            let settings = try Settings()
            try body(try settings.connect(), settings)
        } catch let error as APIErrorConvertible {
            throw Failure(Self.text(of: error.apiError))
        } catch let error as PostgresError where error.sqlState == "42P01" {
            throw Failure("The database has no tables yet: run `migrate up` first.")
        }
    }

    /// Names the option of a field: `limits.max_tokens` came from `--limits`, `upstream.url` from `--upstream-url`.
    private static func text(of error: APIError) -> String {
        guard let param = error.param else { return error.message }
        let parts = param.split(separator: ".").map(String.init)
        let candidates = [parts.first, parts.joined(separator: "-"), parts.last].compactMap { $0?.replacingOccurrences(of: "_", with: "-") }
        let option = Options.renamed[param] ?? candidates.first(where: Options.all.contains)
        return option.map { "--\($0): \(error.message)" } ?? error.message
    }
}

/// The names of options that fields come from.
enum Options {
    static let all: Set<String> = [
        "project", "name", "scopes", "endpoint", "expires-at", "slug", "tier", "model", "task-mode", "upstream-url", "upstream-model",
        "health-path", "header", "timeout-ms", "max-concurrent", "context-length", "limits", "defaults", "status", "price-nano-per-mtok",
        "tokens-per-minute", "requests-per-minute", "burst-floor", "request-timeout-s", "idle-stream-s", "concurrent", "queue-wait-s",
        "batch-width", "priority",
    ]
    static let renamed = ["upstream.urls": "upstream-url", "upstream.headers": "header", "upstream.api_key": "upstream-key-env"]
}

/// Prints one JSON document.
func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
