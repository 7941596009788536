import Accounts
import Catalog
import Crypto
import Foundation
import HTTPClient
import OpenAI
import Postgres
import Tenancy
import Testing

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct DataKeysTests {
    /// A database with two projects.
    final class Bench: Sendable {
        let database: TestDatabase
        let (a, b): (ID<Project>, ID<Project>)

        init() throws {
            database = try PostgresServer.makeDatabase()
            a = try database.makeProject("acme").id
            b = try database.makeProject("bolt").id
        }

        func keys(_ masters: MasterKeys? = nil, lifetime: Duration = .seconds(60)) throws -> DataKeys {
            DataKeys(database: database.system(), masters: try masters ?? DataKeysTests.old, lifetime: lifetime)
        }

        func sealing(_ masters: MasterKeys? = nil) throws -> Sealing { Sealing(keys: try keys(masters)) }

        func seal(_ text: String, by sealing: Sealing, for project: ID<Project>, object: String = "o") throws -> [UInt8] {
            try sealing.seal(project: project.description, kind: "test", object: object, Array(text.utf8))
        }

        func open(_ envelope: [UInt8], by sealing: Sealing, for project: ID<Project>, object: String = "o") throws -> String {
            String(decoding: try sealing.open(project: project.description, kind: "test", object: object, envelope), as: UTF8.self)
        }
    }

    static let (first, second) = (SealingTests.first, SealingTests.second)
    static var old: MasterKeys { get throws { try MasterKeys(current: first) } }
    static var both: MasterKeys { get throws { try MasterKeys(current: second, previous: first) } }
    static var new: MasterKeys { get throws { try MasterKeys(current: second) } }

    @Test func eachProjectHasOneKeyOfItsOwnHoweverManyAskAtOnce() async throws {
        try await onThread {
            let bench = try Bench()
            onThreads(8) { _ in _ = try? bench.seal("x", by: bench.sealing(), for: bench.a) }
            let sealed = try bench.seal("secret", by: bench.sealing(), for: bench.a)
            let connection = try bench.database.system().connect()
            #expect(try connection.dataKeys(of: bench.a).map(\.state) == ["current"])
            #expect(try connection.dataKeys(of: bench.b).isEmpty)
            #expect(try bench.open(sealed, by: bench.sealing(), for: bench.a) == "secret")
            // Neither the other project, nor a project that is not, nor another object.
            #expect(throws: SealingError.noKey) { try bench.open(sealed, by: bench.sealing(), for: bench.b) }
            #expect(throws: SealingError.cannotOpen) { try bench.open(sealed, by: bench.sealing(), for: bench.a, object: "p") }
            #expect(throws: APIError.self) { try bench.seal("x", by: bench.sealing(), for: .random()) }
            // A row copied to the other project does not unwrap there.
            try connection.query("UPDATE data_keys SET project_id = \(bench.b)")
            #expect(throws: SealingError.cannotOpen) { try bench.open(sealed, by: bench.sealing(), for: bench.b) }
        }
    }

    @Test func tenantsGetNothingOfTheDataKeys() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.seal("x", by: bench.sealing(), for: bench.a)
            let statements: [SQL] = [
                "SELECT 1 FROM data_keys", "SELECT id FROM data_keys WHERE project_id = \(bench.a)",
                "UPDATE data_keys SET retired_at = now()",
                "DELETE FROM data_keys", "INSERT INTO data_keys (id, project_id, master_key_id) VALUES ('x', \(bench.a), 'x')",
            ]
            for statement in statements {
                let state = TenancyTests.sqlState { try bench.database.tenants().withConnection(of: bench.a) { try $0.query(statement) } }
                #expect(state == "42501", "\(statement.text)")
            }
            // Should somebody grant it one day, row-level security still shows nothing.
            try bench.database.connect().execute("GRANT SELECT ON data_keys TO xerotier_tenant")
            #expect(try bench.database.tenants().withConnection(of: bench.a) { try $0.query("SELECT 1 FROM data_keys") }.isEmpty)
        }
    }

    @Test func aRotatedDataKeyStillOpensAndSealsNothingNew() async throws {
        try await onThread {
            let bench = try Bench()
            let keys = try bench.keys()
            let sealing = Sealing(keys: keys)
            let before = try bench.seal("before", by: sealing, for: bench.a)
            let connection = try bench.database.system().connect()
            let made = try connection.rotateDataKey(of: bench.a, Self.old, by: .system("tests"))
            keys.invalidate(message: "data_keys:\(bench.a)")
            let after = try bench.seal("after", by: sealing, for: bench.a)
            #expect(String(decoding: after[1..<28], as: UTF8.self) == made.id.description)
            #expect(String(decoding: before[1..<28], as: UTF8.self) != made.id.description)
            for reader in [sealing, try bench.sealing()] {
                #expect(try bench.open(before, by: reader, for: bench.a) == "before")
                #expect(try bench.open(after, by: reader, for: bench.a) == "after")
            }
            #expect(try connection.dataKeys(of: bench.a).map(\.state) == ["current", "retired"])
        }
    }

    @Test func destroyingAProjectsKeysMakesItsBytesUnreadable() async throws {
        try await onThread {
            let bench = try Bench()
            let keys = try bench.keys()
            let sealing = Sealing(keys: keys)
            let first = try bench.seal("one", by: sealing, for: bench.a)
            let connection = try bench.database.system().connect()
            _ = try connection.rotateDataKey(of: bench.a, Self.old, by: .system("tests"))
            keys.flush()
            let second = try bench.seal("two", by: sealing, for: bench.a)
            let other = try bench.seal("other", by: sealing, for: bench.b)
            #expect(try connection.destroyDataKeys(of: bench.a, by: .system("tests")).map(\.state) == ["destroyed", "destroyed"])
            keys.invalidate(message: "data_keys:\(bench.a)")
            for sealed in [first, second] {
                #expect(throws: SealingError.noKey) { try bench.open(sealed, by: sealing, for: bench.a) }
            }
            #expect(try connection.query("SELECT 1 FROM data_keys WHERE project_id = \(bench.a) AND wrapped_key IS NOT NULL").isEmpty)
            #expect(try bench.open(other, by: sealing, for: bench.b) == "other")
            #expect(try connection.destroyDataKeys(of: bench.a, by: .system("tests")).isEmpty)
            // A deleted project gets no new key.
            try connection.query("UPDATE projects SET status = 'deleted' WHERE id = \(bench.a)")
            #expect(throws: APIError.self) { try bench.seal("x", by: sealing, for: bench.a) }
        }
    }

    @Test func aProcessThatHearsNothingForgetsADestroyedKeyInTime() async throws {
        try await onThread {
            let bench = try Bench()
            let sealing = Sealing(keys: try bench.keys(lifetime: .milliseconds(50)))
            let sealed = try bench.seal("one", by: sealing, for: bench.a)
            #expect(try bench.open(sealed, by: sealing, for: bench.a) == "one")
            _ = try bench.database.system().connect().destroyDataKeys(of: bench.a, by: .system("tests"))
            usleep(60_000)
            #expect(throws: SealingError.noKey) { try bench.open(sealed, by: sealing, for: bench.a) }
        }
    }

    @Test func rewrappingChangesTheMasterKeyAndNothingThatIsSealed() async throws {
        try await onThread {
            let bench = try Bench()
            let sealed = try [bench.a, bench.b].map { try bench.seal("secret", by: bench.sealing(), for: $0) }
            let connection = try bench.database.system().connect()
            #expect(throws: SealingError.unknownMasterKey) { try connection.rewrapDataKeys(limit: 100, Self.new, by: .system("tests")) }
            #expect(throws: SealingError.unknownMasterKey) { try bench.open(sealed[0], by: bench.sealing(Self.new), for: bench.a) }
            #expect(try connection.rewrapDataKeys(limit: 1, Self.both, by: .system("tests")) == 1)
            // Half done: processes that have both keys open all of it.
            #expect(try bench.open(sealed[0], by: bench.sealing(Self.both), for: bench.a) == "secret")
            #expect(try bench.open(sealed[1], by: bench.sealing(Self.both), for: bench.b) == "secret")
            #expect(try connection.rewrapDataKeys(limit: 100, Self.both, by: .system("tests")) == 1)
            #expect(try connection.rewrapDataKeys(limit: 100, Self.both, by: .system("tests")) == 0)
            for (envelope, project) in zip(sealed, [bench.a, bench.b]) {
                #expect(try bench.open(envelope, by: bench.sealing(Self.new), for: project) == "secret")
                #expect(throws: SealingError.unknownMasterKey) { try bench.open(envelope, by: bench.sealing(), for: project) }
            }
        }
    }

    @Test func aRewrapThatIsKilledInTheMiddleIsFinishedByTheNext() async throws {
        try await onThread {
            let bench = try Bench()
            let connection = try bench.database.system().connect()
            for _ in 0..<59 { _ = try connection.rotateDataKey(of: bench.a, Self.old, by: .system("tests")) }
            let sealed = try bench.seal("secret", by: bench.sealing(), for: bench.a)
            var settings = [
                "XEROTIER_DATABASE_URL": bench.database.url, "XEROTIER_COMPLETION_ENCRYPTION_KEY": Self.second,
                "XEROTIER_COMPLETION_PREVIOUS_ENCRYPTION_KEY": Self.first,
            ]
            // Somebody holds the 35th key, so the program hangs in its fourth batch, with three committed and four keys of it rewrapped.
            let holder = try bench.database.connect()
            try holder.execute("BEGIN")
            try holder.query("SELECT 1 FROM data_keys WHERE id = (SELECT id FROM data_keys ORDER BY id OFFSET 34 LIMIT 1) FOR UPDATE")
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "\(PostgresServer.repository)/.build/release/migrate")
            process.arguments = ["data-keys", "rewrap", "--batch", "10"]
            process.environment = settings
            try process.run()
            func rewrapped() throws -> Int {
                try connection.query("SELECT count(*) AS n FROM data_keys WHERE rewrapped_at IS NOT NULL")[0].get("n")
            }
            #expect(try eventually { try rewrapped() == 30 })
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            try holder.execute("ROLLBACK")
            #expect(
                try eventually {
                    try holder.query(
                        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'migrate' AND datname = current_database()"
                    ).isEmpty
                })
            #expect(try rewrapped() == 30)
            #expect(try bench.open(sealed, by: bench.sealing(Self.both), for: bench.a) == "secret")

            let run = try Program.migrate.run(["data-keys", "rewrap"], settings)
            #expect(run.status == 0 && run.object["rewrapped"] as? Int == 29, "\(run.errors)")
            #expect(try Program.migrate.run(["data-keys", "rewrap"], settings).object["rewrapped"] as? Int == 0)
            // Three batches before the kill, and the rest in one after it.
            #expect(try connection.query("SELECT 1 FROM audit_log WHERE action = 'data_key.rewrap'").count == 4)
            #expect(try bench.open(sealed, by: bench.sealing(Self.new), for: bench.a) == "secret")
            // Without the old key there is nothing to do any more, and with a wrong one nothing is changed.
            settings["XEROTIER_COMPLETION_PREVIOUS_ENCRYPTION_KEY"] = nil
            #expect(try Program.migrate.run(["data-keys", "rewrap"], settings).status == 0)
            settings["XEROTIER_COMPLETION_ENCRYPTION_KEY"] = Self.first
            let wrong = try Program.migrate.run(["data-keys", "rewrap"], settings)
            #expect(wrong.status != 0 && wrong.errors.contains("neither the current nor the previous") && wrong.output.isEmpty)
            #expect(try bench.open(sealed, by: bench.sealing(Self.new), for: bench.a) == "secret")
        }
    }

    @Test func theOperatorRotatesAndListsDataKeys() async throws {
        try await onThread {
            let bench = try Bench()
            let settings = ["XEROTIER_DATABASE_URL": bench.database.url, "XEROTIER_COMPLETION_ENCRYPTION_KEY": Self.first]
            _ = try bench.seal("x", by: bench.sealing(), for: bench.a)
            let made = try Program.migrate.run(["data-keys", "rotate", "--project", "acme"], settings)
            #expect(made.status == 0 && made.object["state"] as? String == "current", "\(made.errors)")
            let listed = try Program.migrate.run(["data-keys", "list", "--project", "acme"], settings)
            #expect(listed.list.map { $0["state"] as? String } == ["current", "retired"] && !listed.output.contains("wrapped"))
            let actions = try bench.database.connect().query("SELECT action FROM audit_log WHERE project_id = \(bench.a)")
            #expect(try actions.map { try $0.get("action", as: String.self) }.contains("data_key.rotate"))
            #expect(try Program.migrate.run(["data-keys", "rotate", "--project", "nobody"], settings).errors.contains("--project"))
        }
    }

    @Test func upSealsAnewWhatWasSealedBeforeThereWereDataKeys() async throws {
        try await onThread {
            let bench = try Bench()
            let connection = try bench.database.system().connect()
            var change = EndpointChange()
            change.tier = "demo"
            change.model = "m"
            change.urls = ["https://a.example"]
            _ = try bench.database.tenants().withConnection(of: bench.a) {
                try $0.setEndpoint("talk", to: change, sealing: bench.sealing(), outbound: OutboundGuard(), by: tester)
            }
            let legacy = try LegacyEnvelope(masterKey: Self.first)
            let stored = try legacy.seal(project: bench.a.description, kind: upstreamKeyKind, Array("sk-old".utf8))
            try connection.query("UPDATE endpoints SET upstream_api_key = \(stored)")

            let catalog = PostgresCatalog(database: bench.database.tenants(), sealing: try bench.sealing(), logger: quiet)
            #expect(try catalog.catalog(of: bench.a).endpoints.first?.status == .failed)
            let settings = ["XEROTIER_DATABASE_URL": bench.database.url, "XEROTIER_COMPLETION_ENCRYPTION_KEY": Self.first]
            for expected in [1, 0] {
                let run = try Program.migrate.run(["up"], settings)
                #expect(run.status == 0 && run.object["resealed"] as? Int == expected, "\(run.errors)")
            }
            catalog.flush()
            let endpoint = try #require(catalog.catalog(of: bench.a).endpoints.first)
            #expect(endpoint.status == .active && endpoint.upstream.apiKey == "sk-old")
            catalog.shutdown()
        }
    }

    @Test func swappedUpstreamKeysOpenForNoEndpoint() async throws {
        try await onThread {
            let bench = try Bench()
            let connection = try bench.database.system().connect()
            var change = EndpointChange()
            change.tier = "demo"
            change.model = "m"
            change.urls = ["https://a.example"]
            for slug in ["one", "two"] {
                change.upstreamKey = "sk-\(slug)"
                _ = try bench.database.tenants().withConnection(of: bench.a) {
                    try $0.setEndpoint(slug, to: change, sealing: bench.sealing(), outbound: OutboundGuard(), by: tester)
                }
            }
            try connection.query(
                """
                UPDATE endpoints SET upstream_api_key = other.upstream_api_key FROM endpoints other
                WHERE other.project_id = endpoints.project_id AND other.id <> endpoints.id
                """)
            let catalog = PostgresCatalog(database: bench.database.tenants(), sealing: try bench.sealing(), logger: quiet)
            let endpoints = try catalog.catalog(of: bench.a).endpoints
            #expect(endpoints.count == 2 && endpoints.allSatisfy { $0.status == .failed && $0.upstream.apiKey == nil })
            catalog.shutdown()
        }
    }
}
