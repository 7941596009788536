import Accounts
import Foundation
import Logging
import OpenAI
import Postgres
import Server
import Tenancy
import Testing
import Threads

/// Who changes things in tests.
let tester = AuditActor.system("tester")
let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct AccountsTests {
    static func code(_ body: () throws -> some Any) -> ErrorCode? {
        do {
            _ = try body()
            return nil
        } catch let error as any APIErrorConvertible {
            return error.apiError.code
        } catch {
            Issue.record(error)
            return nil
        }
    }

    @Test func aKeyOpensItsProjectUntilItIsRevoked() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let connection = try database.connect()
            let project = try database.makeProject("acme")
            let key = try project.withConnection {
                try $0.createKey(NewKey(name: "k", scopes: KeyRules.scopes(["chat", "management"])), by: tester)
            }
            let value = try #require(key.key)
            #expect(value.hasPrefix("xero_acme_") && key.prefix == value.prefix(12))
            let authenticator = KeyAuthenticator(database: database.system(), logger: quiet)
            let principal = try authenticator.principal(bearer: value)
            #expect(principal.projectID == project.id && principal.projectSlug == "acme" && principal.keyID == key.id)
            #expect(principal.scopes == [.inference, .management])
            #expect(try authenticator.projectID(named: "acme") == project.id)
            #expect(try authenticator.projectID(named: project.id.description) == project.id)
            #expect(try authenticator.projectID(named: "other") == nil)
            _ = try project.withConnection { try $0.revokeKey(key.id, by: tester) }
            // Without the message it takes a second at most; with it, it is at once.
            authenticator.invalidate(message: "key:\(key.id)")
            #expect(Self.code { try authenticator.principal(bearer: value) } == .authenticationError)
            authenticator.shutdown()
            #expect(try connection.query("SELECT last_used_at IS NOT NULL AS used FROM api_keys")[0].get("used") == true)
            #expect(try connection.query("SELECT 1 FROM api_keys WHERE api_keys::text LIKE \("%" + value + "%")").isEmpty)
        }
    }

    @Test func aRevokedKeyStopsWithinASecondWithoutAnyMessage() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            let key = try project.withConnection { try $0.createKey(NewKey(name: "k", scopes: [.inference]), by: tester) }
            let value = try #require(key.key)
            let authenticator = KeyAuthenticator(database: database.system(), logger: quiet)
            _ = try authenticator.principal(bearer: value)
            _ = try project.withConnection { try $0.revokeKey(key.id, by: tester) }
            #expect(
                eventually(within: .milliseconds(1_050)) {
                    Self.code { try authenticator.principal(bearer: value) } == .authenticationError
                })
            authenticator.shutdown()
        }
    }

    @Test func theEndOfAKeyOrOfItsGraceIsNamed() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let connection = try database.connect()
            let project = try database.makeProject("acme")
            let authenticator = KeyAuthenticator(database: database.system(), logger: quiet)
            let first = try project.withConnection { try $0.createKey(NewKey(name: "a", scopes: [.inference]), by: tester) }
            let second = try project.withConnection { try $0.createKey(NewKey(name: "b", scopes: [.inference]), by: tester) }
            // The second key's value becomes the previous value of the first.
            let digest: [UInt8] = try connection.query("SELECT key_hash FROM api_keys WHERE id = \(second.id)")[0].get("key_hash")
            try connection.query("DELETE FROM api_keys WHERE id = \(second.id)")
            try connection.query(
                "UPDATE api_keys SET previous_key_hash = \(digest), grace_expires_at = now() + interval '1 hour' WHERE id = \(first.id)")
            #expect(try authenticator.principal(bearer: #require(second.key)).keyID == first.id)
            try connection.query("UPDATE api_keys SET grace_expires_at = now() WHERE id = \(first.id)")
            authenticator.flush()
            #expect(Self.code { try authenticator.principal(bearer: second.key ?? "") } == .apiKeyExpired)
            #expect(Self.code { try authenticator.principal(bearer: first.key ?? "") } == nil)
            try connection.query("UPDATE api_keys SET expires_at = now() WHERE id = \(first.id)")
            authenticator.flush()
            #expect(Self.code { try authenticator.principal(bearer: first.key ?? "") } == .apiKeyExpired)
            authenticator.shutdown()
        }
    }

    @Test func badKeysAreAllTheSame401() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let authenticator = KeyAuthenticator(database: database.system(), logger: quiet)
            let secret = String(repeating: "a", count: 43)
            for text in [
                "", "xero_", "sk-1", "xero_acme_\(secret)", "xero_acme_\(secret)a", "xero_acme_short", "xero_Acme_\(secret)",
                "xero_acme_\(secret.dropLast())!",
            ] {
                #expect(Self.code { try authenticator.principal(bearer: text) } == .authenticationError)
            }
            authenticator.shutdown()
        }
    }

    @Test func postgresAwayIs503AndNever401() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let project = try database.makeProject("acme")
            let value = try #require(project.withConnection { try $0.createKey(NewKey(name: "k", scopes: [.inference]), by: tester) }.key)
            let proxy = try CuttingProxy(target: PostgresServer.socketPath())
            let pool = SystemDatabase(
                url: try PostgresServer.conninfo(database: database.name, directory: proxy.directory), size: 2)
            let authenticator = KeyAuthenticator(database: pool, logger: quiet)
            _ = try authenticator.principal(bearer: value)
            proxy.set(.refuse)
            proxy.cut()
            #expect(
                eventually(within: .milliseconds(1_200)) { Self.code { try authenticator.principal(bearer: value) } == .serviceUnavailable }
            )
            #expect(Self.code { try authenticator.projectID(named: "acme") } == .serviceUnavailable)
            proxy.set(.forward)
            _ = try authenticator.principal(bearer: value)
            authenticator.shutdown()
            proxy.close()
        }
    }
}
