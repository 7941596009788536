import Accounts
import Billing
import Catalog
import Crypto
import Foundation
import HTTPClient
import OpenAI
import Postgres
import Tenancy
import Testing

/// Row-level security by project. Seen to fail, with the other project's rows, when the migration enables no row-level security.
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct TenancyTests {
    /// Two projects with a key, an endpoint, a top-up and a usage row each.
    struct Bench {
        let database: TestDatabase
        let acme: TestProject
        let zeta: TestProject

        init() throws {
            database = try PostgresServer.makeDatabase()
            acme = try Self.fill(database, "acme")
            zeta = try Self.fill(database, "zeta")
        }

        private static func fill(_ database: TestDatabase, _ slug: String) throws -> TestProject {
            let project = try database.makeProject(slug)
            let sealing = Sealing(keys: DataKeys(database: database.system(), masters: try DataKeysTests.old))
            var change = EndpointChange()
            change.tier = "demo"
            change.model = "m"
            change.urls = ["https://a.example"]
            _ = try project.withConnection { connection in
                _ = try connection.createKey(NewKey(name: "k", scopes: [.inference]), by: tester)
                _ = try connection.setEndpoint("talk", to: change, sealing: sealing, outbound: OutboundGuard(), by: tester)
            }
            _ = try Ledger(database: database.system()).post(LedgerPosting(.topup, of: 5, to: project.id, key: slug, isManual: true))
            try database.connect().query(
                """
                INSERT INTO usage_events (id, project_id, request_id, surface, service_tier, tier, is_xim, is_stream, input_tokens,
                    output_tokens, cached_tokens, reasoning_tokens, cost_nano, price_nano_per_mtok, multiplier_bp, status_code, fault,
                    cut_by_client, latency_ms, queue_ms, router_us, retries, created_at)
                VALUES (\(slug), \(project.id), \(slug), 'chat', 'default', 'demo', false, false, 0, 0, 0, 0, 0, 0, 10000, 200, 'none', false,
                    0, 0, 0, 0, now())
                """)
            return project
        }
    }

    static func sqlState(_ body: () throws -> some Any) -> String? {
        do {
            _ = try body()
            return nil
        } catch let error as PostgresError {
            return error.sqlState ?? "\(error)"
        } catch {
            return "\(error)"
        }
    }

    private static let refused = "42501"

    @Test func aQueryThatForgetsItsProjectFindsOnlyItsOwnRows() async throws {
        try await onThread {
            let bench = try Bench()
            for table in [
                "projects", "api_keys", "models", "endpoints", "usage_events", "audit_log", "ledger_accounts", "ledger_transactions",
            ] {
                let column = table == "projects" ? "id" : "project_id"
                let ids = try bench.acme.withConnection { connection in
                    try connection.query("SELECT \(trusted: column) AS id FROM \(trusted: table)").map { try $0.get("id", as: String.self) }
                }
                #expect(Set(ids) == [bench.acme.id.description], "\(table)")
                let others = try bench.acme.withConnection {
                    try $0.query("SELECT 1 FROM \(trusted: table) WHERE \(trusted: column) = \(bench.zeta.id)")
                }
                #expect(others.isEmpty, "\(table)")
            }
            // They name no project; of a posting's two, a tenant sees the one on its own account.
            #expect(try bench.acme.withConnection { try $0.query("SELECT 1 FROM ledger_entries") }.count == 1)
        }
    }

    @Test func nothingOfAnotherProjectCanBeWritten() async throws {
        try await onThread {
            let bench = try Bench()
            let (own, other) = (bench.acme.id, bench.zeta.id)
            let statements: [SQL] = [
                "INSERT INTO models (id, project_id, name, status, source) VALUES (\(ID<Model>.random()), \(other), 'x', 'ready', 'upload')",
                "UPDATE models SET project_id = \(other) WHERE project_id = \(own)",
                "UPDATE endpoints SET project_id = \(other)",
                "INSERT INTO usage_events (id, project_id) VALUES ('x', \(own))",
                "INSERT INTO projects (id, slug, name) VALUES (\(ID<Project>.random()), 'new', 'new')",
                "DELETE FROM api_keys",
                "UPDATE service_tiers SET price_nano_per_mtok = 0",
            ]
            for statement in statements {
                #expect(Self.sqlState { try bench.acme.withConnection { try $0.query(statement) } } == Self.refused, "\(statement.text)")
            }
            let changed = try bench.acme.withConnection {
                try $0.query("UPDATE endpoints SET name = 'mine' WHERE project_id = \(other) RETURNING id")
            }
            #expect(changed.isEmpty)
            #expect(try bench.database.connect().query("SELECT 1 FROM endpoints WHERE name = 'mine' OR project_id = \(own)").count == 1)
        }
    }

    @Test func thereIsNoWayOutOfTheRole() async throws {
        try await onThread {
            let bench = try Bench()
            let statements: [SQL] = [
                "SET ROLE xerotier_system", "SET ROLE xerotier", "SELECT set_config('role', 'xerotier_system', false)",
                "SET SESSION AUTHORIZATION xerotier", "SELECT * FROM usage_events_default", "SELECT * FROM schema_migrations",
                "CREATE TABLE mine (id int)", "ALTER TABLE api_keys DISABLE ROW LEVEL SECURITY",
                "SELECT create_usage_partitions(now(), 20)",
            ]
            for statement in statements {
                #expect(Self.sqlState { try bench.acme.withConnection { try $0.query(statement) } } == Self.refused, "\(statement.text)")
            }
            for statement: SQL in ["RESET ROLE", "RESET SESSION AUTHORIZATION", "SET row_security = off", "RESET ALL"] {
                let tenants = bench.database.tenants(size: 1)
                _ = try tenants.withConnection(of: bench.acme.id) { try $0.query(statement) }
                let found = try? tenants.withConnection(of: bench.acme.id) {
                    try $0.query("SELECT 1 FROM api_keys WHERE project_id = \(bench.zeta.id)")
                }
                #expect(found?.isEmpty ?? true, "\(statement.text)")
            }
        }
    }

    /// What the session is set to, and the projects that it shows.
    private static func seen(_ tenants: TenantDatabase, _ project: ID<Project>) throws -> [String] {
        try tenants.withConnection(of: project) { connection in
            try connection.query("SELECT project_id FROM endpoints").map { try $0.get("project_id") }
        }
    }

    /// Seen to fail when the setting counts as in force after a failure that took it back, and after a ROLLBACK.
    @Test func aConnectionLentAgainShowsTheNewProjectWhateverHappenedBefore() async throws {
        try await onThread {
            let bench = try Bench()
            let (acme, zeta) = (bench.acme.id, bench.zeta.id)
            struct Stop: Error {}
            let before: [(String, (TenantDatabase) throws -> Void)] = [
                ("a query", { _ = try $0.withConnection(of: acme) { try $0.query("SELECT 1") } }),
                ("a failed first query", { _ = try $0.withConnection(of: acme) { try $0.query("SELECT 1/0") } }),
                ("a query that cannot be parsed", { _ = try $0.withConnection(of: acme) { try $0.query("SELEC") } }),
                ("a bad value", { _ = try $0.withConnection(of: acme) { try $0.query("SELECT \("a\0")::text") } }),
                ("an empty transaction", { try $0.transaction(of: acme) { _ in } }),
                ("a transaction", { _ = try $0.transaction(of: acme) { try $0.query("SELECT 1") } }),
                (
                    "a rolled back transaction",
                    {
                        try $0.transaction(of: acme) {
                            try $0.query("SELECT 1")
                            throw Stop()
                        }
                    }
                ),
                ("a failed transaction", { _ = try $0.transaction(of: acme) { try $0.query("SELECT 1/0") } }),
                (
                    "a transaction whose failure was swallowed",
                    {
                        try $0.transaction(of: acme) { connection in
                            try connection.query("SELECT 1")
                            _ = try? connection.query("SELECT 1/0")
                        }
                    }
                ),
                (
                    "a rollback by hand",
                    {
                        try $0.withConnection(of: acme) { connection in
                            try connection.query("BEGIN")
                            try connection.query("SELECT 1")
                            try connection.query("ROLLBACK")
                        }
                    }
                ),
                (
                    "a setting that went with its transaction",
                    { tenants in
                        _ = try Self.seen(tenants, zeta)
                        try tenants.transaction(of: acme) {
                            try $0.query("SELECT 1")
                            throw Stop()
                        }
                    }
                ),
            ]
            for (name, act) in before {
                for first in [acme, zeta] {
                    for next in [acme, zeta] {
                        // One connection, so that it is always the same.
                        let tenants = bench.database.tenants(size: 1)
                        _ = try Self.seen(tenants, first)
                        try? act(tenants)
                        #expect(try Self.seen(tenants, next) == [next.description], "after \(name)")
                        #expect(try tenants.transaction(of: first) { _ in 1 } == 1)
                        let inside = try tenants.transaction(of: first) { try $0.query("SELECT project_id FROM endpoints") }
                        #expect(try inside.map { try $0.get("project_id", as: String.self) } == [first.description], "after \(name)")
                    }
                }
            }
        }
    }

    /// Another project's connection waits as often for the server as the same project's.
    @Test func settingTheProjectCostsNoRoundTrip() async throws {
        try await onThread {
            let bench = try Bench()
            let proxy = try CuttingProxy(target: PostgresServer.socketPath())
            defer { proxy.close() }
            let tenants = TenantDatabase(
                url: try PostgresServer.conninfo(database: bench.database.name, directory: proxy.directory), size: 1)
            for project in [bench.acme.id, bench.zeta.id] { _ = try Self.seen(tenants, project) }
            func turns(_ projects: [ID<Project>]) throws -> Int {
                let before = proxy.turns
                for project in projects { _ = try Self.seen(tenants, project) }
                return proxy.turns - before
            }
            #expect(try turns([bench.zeta.id, bench.zeta.id, bench.zeta.id]) == 3)
            #expect(try turns([bench.acme.id, bench.zeta.id, bench.acme.id]) == 3)
        }
    }

    @Test func withoutTheRolesMigrateRefusesInOneLine() async throws {
        try await onThread {
            let database = try PostgresServer.makeEmptyDatabase()
            // This login may not act as the system.
            let run = try Program.migrate.run(["up"], ["XEROTIER_DATABASE_URL": database.url + " user=xerotier_tenant"])
            #expect(run.status != 0 && run.output.isEmpty)
            #expect(run.errors.split(separator: "\n").count == 1 && run.errors.contains("Roles of the database"), "\(run.errors)")
        }
    }
}
