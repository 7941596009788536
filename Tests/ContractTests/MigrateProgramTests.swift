import Accounts
import Foundation
import Postgres
import Redis
import Testing
import Threads

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct MigrateProgramTests {
    /// A database, a Redis that is listened to, and `migrate` set up for both.
    final class Bench: Sendable {
        let database: TestDatabase
        let redis: RedisServer
        let messages = Monitor<[String]>([])
        private let subscriber: RedisSubscriber

        init(database: TestDatabase) throws {
            self.database = database
            redis = try RedisServer()
            let messages = messages
            let isListening = Monitor(false)
            subscriber = RedisSubscriber(
                socket: redis.socket, channel: "xerotier:invalidate", onMessage: { message in messages.change { $0.append(message) } },
                onLost: {}, onSubscribed: { isListening.change { $0 = true } })
            #expect(isListening.wait(atMost: 5, while: { !$0 }, then: { $0 }))
        }

        deinit { subscriber.stop() }

        var settings: [String: String] { Self.settings(database).merging(["XEROTIER_REDIS_SOCKET": redis.socket]) { $1 } }

        static func settings(_ database: TestDatabase) -> [String: String] {
            [
                "XEROTIER_DATABASE_URL": database.url,
                "XEROTIER_COMPLETION_ENCRYPTION_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "UPSTREAM_KEY": "sk-upstream-secret",
            ]
        }

        func run(_ arguments: String...) throws -> Program.Run { try Program.migrate.run(arguments, settings) }

        /// What it answers when it succeeds.
        func answer(_ arguments: String...) throws -> Program.Run {
            let run = try Program.migrate.run(arguments, settings)
            #expect(run.status == 0 && run.errors.isEmpty, "\(arguments): \(run.errors)")
            return run
        }

        func hears(_ message: String) -> Bool {
            messages.wait(atMost: 5, while: { !$0.contains(message) }, then: { $0.contains(message) })
        }
    }

    @Test func upAppliesOnceAndRefusesAnEditedMigration() async throws {
        try await onThread {
            let bench = try Bench(database: PostgresServer.makeEmptyDatabase())
            #expect(try bench.run("project", "set", "--slug", "acme").errors.contains("run `migrate up` first"))
            let names = try FileManager.default.contentsOfDirectory(atPath: PostgresServer.migrationsDirectory).filter {
                $0.hasSuffix(".sql")
            }
            #expect(try bench.answer("up").object["applied"] as? [String] == names.map { String($0.dropLast(4)) }.sorted())
            #expect(try bench.answer("up").object["applied"] as? [String] == [])
            let tiers = try bench.database.connect().query("SELECT slug FROM service_tiers").map { try $0.get("slug", as: String.self) }
            #expect(tiers.count == 8 && tiers.contains("demo"))
            let copy = "/tmp/xu\(UInt32.random(in: 0...UInt32.max))"
            try FileManager.default.copyItem(atPath: PostgresServer.migrationsDirectory, toPath: copy)
            AtExit.add { try? FileManager.default.removeItem(atPath: copy) }
            let edited = try #require(names.max())
            let path = "\(copy)/\(edited)"
            try (String(contentsOfFile: path, encoding: .utf8) + "-- edited\n").write(toFile: path, atomically: true, encoding: .utf8)
            let refused = try bench.run("up", "--migrations", copy)
            #expect(refused.status != 0 && refused.output.isEmpty && refused.errors.contains("\(edited.dropLast(4)) was edited"))
            #expect(try bench.run("up", "--migrations", "/nowhere").errors.contains("/nowhere"))
        }
    }

    @Test func keysAreMadeListedAndRevokedAndTheGatewaysAreTold() async throws {
        try await onThread {
            let bench = try Bench(database: PostgresServer.makeDatabase())
            _ = try bench.answer("project", "set", "--slug", "acme", "--name", "Acme")
            _ = try bench.answer(
                "endpoint", "set", "--project", "acme", "--slug", "talk", "--tier", "demo", "--model", "m", "--upstream-url",
                "https://a.example")
            let made = try bench.answer("key", "create", "--project", "acme", "--name", "first", "--scopes", "inference,management").object
            let pinned = try bench.answer(
                "key", "create", "--project", "acme", "--name", "second", "--endpoint", "talk", "--expires-in-days", "1"
            ).object
            let id = try #require(made["id"] as? String)
            let value = try #require(made["key"] as? String)
            #expect(value.hasPrefix("xero_acme_") && made["active"] as? Bool == true && made["expires_at"] is NSNull)
            #expect(made["scopes"] as? [String] == ["inference", "management"] && pinned["endpoint"] as? String == "talk")
            let lifetime = try #require(pinned["expires_at"] as? Int) - Int(Date().timeIntervalSince1970)
            #expect((86_000...86_400).contains(lifetime))
            let listed = try bench.answer("key", "list", "--project", "acme")
            #expect(listed.list.map { $0["name"] as? String } == ["second", "first"] && !listed.output.contains(value))
            let revoked = try bench.answer("key", "revoke", "--id", id)
            #expect(revoked.object["active"] as? Bool == false && revoked.object["key"] == nil)
            #expect(bench.hears("key:\(id)"))
            #expect(try bench.answer("key", "list", "--project", "acme").list.map { $0["active"] as? Bool } == [true, false])
            // Once more changes nothing.
            #expect(try bench.answer("key", "revoke", "--id", id).output == revoked.output)
        }
    }

    @Test func withoutRedisAKeyIsRevokedWithAWarning() async throws {
        try await onThread {
            let bench = try Bench(database: PostgresServer.makeDatabase())
            _ = try bench.answer("project", "set", "--slug", "acme")
            for socket in ["/nowhere.sock", nil] {
                let id = try #require(try bench.answer("key", "create", "--project", "acme", "--name", "k").object["id"] as? String)
                var settings = bench.settings
                settings["XEROTIER_REDIS_SOCKET"] = socket
                let run = try Program.migrate.run(["key", "revoke", "--id", id], settings)
                #expect(run.status == 0 && run.object["active"] as? Bool == false && run.errors.hasPrefix("warning: "))
            }
        }
    }

    @Test func anEndpointMayLoseItsUpstreamToAgents() async throws {
        try await onThread {
            let bench = try Bench(database: PostgresServer.makeDatabase())
            _ = try bench.answer("project", "set", "--slug", "acme")
            let named = ["endpoint", "set", "--project", "acme", "--slug", "talk"]
            let set = { (more: [String]) in try Program.migrate.run(named + more, bench.settings) }
            #expect(try set(["--tier", "demo", "--model", "m", "--upstream-url", "https://a.example", "--engine", "vllm"]).status == 0)
            #expect(try set(["--context-length", "512"]).output.contains("a.example"))
            let lost = try set(["--no-upstream"])
            #expect(
                lost.status == 0 && !lost.output.contains("a.example") && !lost.output.contains("vllm"), "\(lost.output) \(lost.errors)")
        }
    }

    @Test func noSecretStandsInAnyColumn() async throws {
        try await onThread {
            let bench = try Bench(database: PostgresServer.makeDatabase())
            _ = try bench.answer("project", "set", "--slug", "acme")
            let key = try #require(try bench.answer("key", "create", "--project", "acme", "--name", "k").object["key"] as? String)
            let endpoint = try bench.answer(
                "endpoint", "set", "--project", "acme", "--slug", "talk", "--tier", "demo", "--model", "m", "--upstream-url",
                "https://a.example", "--upstream-key-env", "UPSTREAM_KEY")
            #expect(!endpoint.output.contains("sk-upstream-secret"))
            let connection = try bench.database.connect()
            let tables = try connection.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            #expect(tables.count > 5)
            var dump = ""
            for table in tables {
                let name: String = try table.get("tablename")
                // bytea is shown in hexadecimal, so each text is looked for in both forms.
                let rows = try connection.query("SELECT row_to_json(t)::text AS row FROM \(trusted: name) t")
                dump += try rows.map { try $0.get("row", as: String.self) }.joined(separator: "\n")
            }
            #expect(dump.contains("acme") && dump.contains("xero_acme_"))
            let masterKey = try #require(Data(base64Encoded: bench.settings["XEROTIER_COMPLETION_ENCRYPTION_KEY"] ?? ""))
            for secret in [key, String(key.suffix(43)), "sk-upstream-secret"].map({ Array($0.utf8) }) + [Array(masterKey)] {
                let hexadecimal = secret.map { String(format: "%02x", $0) }.joined()
                #expect(!dump.contains(String(decoding: secret, as: UTF8.self)) && !dump.contains(hexadecimal))
            }
            // What stands there is an envelope and a wrapped key.
            #expect(dump.contains("\"upstream_api_key\":\"\\\\x02646b5f") && dump.contains("\"wrapped_key\":\"\\\\x"))
        }
    }

    @Test(arguments: [
        (["key", "create", "--project", "nobody", "--name", "k"], "--project"),
        (["key", "create", "--project", "acme", "--name", ""], "--name"),
        (["key", "create", "--project", "acme", "--name", "k", "--scopes", "root"], "--scopes"),
        (["key", "create", "--project", "acme", "--name", "k", "--endpoint", "none"], "--endpoint"),
        (["key", "create", "--project", "acme", "--name", "k", "--expires-in-days", "0"], "--expires-in-days"),
        (["key", "create", "--project", "acme", "--name", "k", "--expires-in-days", "many"], "--expires-in-days"),
        (["key", "create", "--project", "acme", "--name", "k", "--expires-at", "1"], "--expires-at"),
        (["key", "create", "--project", "acme", "--name", "k", "--expires-at", "9999999999", "--expires-in-days", "1"], "--expires-at"),
        (["key", "create", "--project", "acme", "--name", "k", "--colour", "red"], "--colour"),
        (["key", "create", "--project", "acme"], "--name"),
        (["key", "revoke", "--id", "key_short"], "--id"), (["key", "revoke", "--id", "key_0123456789abcdefghijklmn"], "--id"),
        (["project", "set", "--slug", "Big"], "--slug"), (["project", "set", "--slug", "v1"], "--slug"),
        (["endpoint", "set", "--project", "acme", "--slug", "e", "--model", "m", "--upstream-url", "https://a"], "--tier"),
        (
            ["endpoint", "set", "--project", "acme", "--slug", "e", "--tier", "none", "--model", "m", "--upstream-url", "https://a"],
            "--tier"
        ),
        (
            ["endpoint", "set", "--project", "acme", "--slug", "e", "--tier", "demo", "--model", "m", "--upstream-url", "ftp://a"],
            "--upstream-url"
        ),
        (["endpoint", "set", "--project", "acme", "--slug", "e", "--task-mode", "sing"], "--task-mode"),
        (["endpoint", "set", "--project", "acme", "--slug", "e", "--limits", "{\"most\":1}"], "--limits"),
        (["endpoint", "set", "--project", "acme", "--slug", "e", "--limits", "[1"], "--limits"),
        (
            [
                "endpoint", "set", "--project", "acme", "--slug", "e", "--tier", "demo", "--upstream-url", "https://a", "--defaults",
                "{\"temperature\":9}",
            ], "--defaults"
        ),
        (["endpoint", "set", "--project", "acme", "--slug", "e", "--header", "no colon"], "--header"),
        (["endpoint", "set", "--project", "acme", "--slug", "e", "--upstream-key-env", "NOT_SET"], "--upstream-key-env"),
        (["tier", "set", "--slug", "new"], "--price-nano-per-mtok"),
        (["tier", "set", "--slug", "demo", "--concurrent", "0"], "--concurrent"),
        (["tier", "set", "--slug", "demo", "--tokens-per-minute", "some"], "--tokens-per-minute"),
    ])
    func badOptionsAreNamed(arguments: [String], option: String) async throws {
        try await onThread {
            let run = try Program.migrate.run(arguments, Bench.settings(Self.shared.get()))
            #expect(run.status != 0 && run.output.isEmpty, "\(run.output)")
            #expect(run.errors.contains(option) && !run.errors.contains("SQL"), "\(run.errors)")
        }
    }

    @Test(arguments: [
        "http://models.example.com/v1", "https://127.0.0.1/v1", "https://2130706433/v1", "https://0x7f.1/v1", "https://0177.0.0.1/v1",
        "https://127.1/v1", "https://[::1]/v1", "https://[::ffff:10.0.0.1]/v1", "https://[fe80::1%25eth0]/v1", "https://１２７.0.0.1/v1",
        "https://localhost/v1", "https://localhost./v1", "https://user:pw@models.example.com/v1", "https://models.example.com:9443/v1",
        "https://169.254.169.254/latest", "https://models.example.com/v1?a=b", "https://own.example/v1", "https://a b/v1",
        "https://a/\r\nX: y",
    ])
    func aURLThatMayNotBeCalledIsNotStored(url: String) async throws {
        try await onThread {
            let database = try Self.shared.get()
            let settings = Bench.settings(database).merging(["XEROTIER_EGRESS_OWN_HOSTS": "own.example"]) { $1 }
            let slug = "e\(UInt32.random(in: 0...UInt32.max))"
            let arguments = [
                "endpoint", "set", "--project", "acme", "--slug", slug, "--tier", "demo", "--model", "m", "--upstream-url", url,
            ]
            let run = try Program.migrate.run(arguments, settings)
            #expect(run.status != 0 && run.output.isEmpty && run.errors.contains("--upstream-url: "), "\(run.errors)")
            #expect(try database.connect().query("SELECT 1 FROM endpoints WHERE slug = \(slug)").isEmpty)
        }
    }

    @Test func anExistingEndpointKeepsItsURLWhenTheNewOneIsRefusedUnlessTheOperatorListsIt() async throws {
        try await onThread {
            let bench = try Bench(database: PostgresServer.makeDatabase())
            _ = try bench.answer("project", "set", "--slug", "acme")
            func set(_ url: String, _ more: [String: String] = [:]) throws -> Program.Run {
                try Program.migrate.run(
                    ["endpoint", "set", "--project", "acme", "--slug", "talk", "--tier", "demo", "--model", "m", "--upstream-url", url],
                    bench.settings.merging(more) { $1 })
            }
            let first = try set("https://a.example/v1")
            #expect(first.status == 0)
            #expect(try set("http://127.0.0.1:8000/v1").status != 0)
            let stored = try bench.database.connect().query("SELECT upstream_urls, generation FROM endpoints")[0]
            #expect(try stored.texts("upstream_urls") == ["https://a.example/v1"] && stored.get("generation") == 1)
            #expect(
                try set("http://127.0.0.1:8000/v1", ["XEROTIER_EGRESS_ALLOW_HOSTS": "127.0.0.1:8000"]).object["generation"] as? Int == 2)
            let ranged = [
                "XEROTIER_EGRESS_ALLOW_CIDRS": "10.0.0.0/8", "XEROTIER_EGRESS_PORTS": "8001", "XEROTIER_EGRESS_ALLOW_HTTP": "true",
            ]
            #expect(try set("http://10.1.2.3:8001/v1", ranged).object["generation"] as? Int == 3)
        }
    }

    /// One for all refusals: they change nothing.
    private static let shared = Result {
        let database = try PostgresServer.makeDatabase()
        _ = try database.makeProject("acme")
        return database
    }

    @Test func badSettingsAreNamed() async throws {
        try await onThread {
            let good = ["XEROTIER_DATABASE_URL": "dbname=x"]
            #expect(try Program.migrate.run(["up"], [:]).errors.contains("database.url: missing"))
            for (name, value, named) in [
                ("XEROTIER_DATABASE_ULR", "x", "XEROTIER_DATABASE_ULR"),
                ("XEROTIER_COMPLETION_ENCRYPTION_KEY", "short", "completion.encryption_key"),
            ] {
                let run = try Program.migrate.run(["up"], good.merging([name: value]) { $1 })
                #expect(run.status != 0 && run.errors.contains(named), "\(run.errors)")
            }
        }
    }

    @Test func settingAnEndpointAgainChangesNothing() async throws {
        try await onThread {
            let bench = try Bench(database: PostgresServer.makeDatabase())
            let project = try #require(try bench.answer("project", "set", "--slug", "acme").object["id"] as? String)
            let arguments = [
                "endpoint", "set", "--project", "acme", "--slug", "talk", "--tier", "demo", "--model", "m", "--upstream-url",
                "https://a.example/v1", "--upstream-url", "https://b.example", "--upstream-key-env", "UPSTREAM_KEY", "--header",
                "X-Team: blue",
                "--limits", #"{"max_tokens":5}"#, "--defaults", #"{"temperature":0.5}"#, "--context-length", "4096",
            ]
            func set(_ more: String...) throws -> [String: Any] {
                let run = try Program.migrate.run(arguments + more, bench.settings)
                #expect(run.status == 0, "\(run.errors)")
                return run.object
            }
            let first = try set()
            #expect(
                first["generation"] as? Int == 1 && first["upstream_urls"] as? [String] == ["https://a.example/v1", "https://b.example"])
            #expect(bench.hears("project:\(project)"))
            #expect(try set() as NSDictionary == first as NSDictionary)
            let changed = try set("--timeout-ms", "5000")
            #expect(changed["generation"] as? Int == 2 && changed["id"] as? String == first["id"] as? String)
            #expect(
                try bench.answer("endpoint", "set", "--project", "acme", "--slug", "talk", "--status", "inactive").object["generation"]
                    as? Int == 3)
        }
    }

    @Test func aTierIsMadeAndChangedAndTheGatewaysAreTold() async throws {
        try await onThread {
            let bench = try Bench(database: PostgresServer.makeDatabase())
            let made = try bench.answer("tier", "set", "--slug", "new", "--price-nano-per-mtok", "7", "--tokens-per-minute", "none").object
            #expect(made["price_nano_per_mtok"] as? Int == 7 && made["tokens_per_minute"] is NSNull)
            #expect(bench.hears("tiers"))
            let changed = try bench.answer("tier", "set", "--slug", "new", "--tokens-per-minute", "99", "--concurrent", "3").object
            #expect(
                changed["tokens_per_minute"] as? Int == 99 && changed["concurrent"] as? Int == 3
                    && changed["price_nano_per_mtok"] as? Int == 7)
            #expect(try bench.answer("tier", "set", "--slug", "new", "--tokens-per-minute", "none").object["tokens_per_minute"] is NSNull)
        }
    }
}
