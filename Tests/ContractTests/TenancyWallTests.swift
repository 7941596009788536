import Foundation
import Postgres
import Tenancy
import Testing

/// What keeps the walls between tenants up as the code grows: tables without policies, uses of the system's database and queries without a
/// project are found here.
@Suite struct TenancyWallTests {
    /// Tables and views of tenants' rows that are not behind row-level security, and why. `data_keys` shows tenants nothing, so it has no policy.
    static let holes: SQL = """
        WITH tenant_tables AS (
            SELECT c.oid, c.relname, c.relkind, c.relispartition, c.relrowsecurity, c.relacl, c.reloptions
            FROM pg_class c
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (c.relname = 'projects' OR EXISTS (
                SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'project_id' AND NOT a.attisdropped))
        ), rights AS (
            SELECT t.oid, a.grantee FROM tenant_tables t, aclexplode(t.relacl) a
            UNION SELECT t.oid, a.grantee FROM tenant_tables t JOIN pg_attribute c ON c.attrelid = t.oid, aclexplode(c.attacl) a
        ), policies AS (
            SELECT p.polrelid AS oid, pg_get_expr(p.polqual, p.polrelid) AS condition, pg_get_expr(p.polwithcheck, p.polrelid) AS check,
                'xerotier_tenant'::regrole = ANY (p.polroles) AS is_tenants
            FROM pg_policy p WHERE '{xerotier_tenant,0}'::regrole[]::oid[] && p.polroles
        ), wall AS (SELECT '%= current_setting(''xerotier.project''::text, true))' AS pattern)
        SELECT relname || ' has no row-level security' AS hole FROM tenant_tables WHERE relkind IN ('r', 'p') AND NOT relrowsecurity
        UNION ALL SELECT relname || ' has no policy for xerotier_tenant' FROM tenant_tables t
            WHERE relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'data_keys' AND NOT EXISTS (SELECT 1 FROM policies p WHERE p.oid = t.oid AND p.is_tenants)
        UNION ALL SELECT relname || ' has a policy without the project' FROM tenant_tables t JOIN policies p USING (oid), wall
            WHERE COALESCE(p.condition, p.check) NOT LIKE wall.pattern OR p.check NOT LIKE wall.pattern
        UNION ALL SELECT relname || ' is open to PUBLIC' FROM tenant_tables t JOIN rights r USING (oid) WHERE r.grantee = 0
        UNION ALL SELECT relname || ' is a partition that xerotier_tenant may reach directly' FROM tenant_tables t JOIN rights r USING (oid)
            WHERE t.relispartition AND r.grantee = 'xerotier_tenant'::regrole
        UNION ALL SELECT relname || ' is a view with its owner''s rights' FROM tenant_tables t JOIN rights r USING (oid)
            WHERE t.relkind IN ('v', 'm', 'f') AND r.grantee = 'xerotier_tenant'::regrole
                AND NOT COALESCE(t.reloptions && '{security_invoker=true,security_invoker=on}', false)
        UNION ALL SELECT proname || ' runs with its owner''s rights' FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace AND prosecdef AND has_function_privilege('xerotier_tenant', oid, 'EXECUTE')
        UNION ALL SELECT 'schema_migrations is open' WHERE has_any_column_privilege('xerotier_tenant', 'schema_migrations', 'SELECT')
            OR has_table_privilege('xerotier_tenant', 'schema_migrations', 'INSERT, UPDATE, DELETE, TRUNCATE')
        ORDER BY hole
        """

    @Test(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
    func everyTableOfTenantsIsBehindTheWall() async throws {
        try await onThread {
            let connection = try PostgresServer.makeDatabase().connect()
            func holes() throws -> [String] { try connection.query(Self.holes).map { try $0.get("hole") } }
            #expect(try holes() == [])
            // What the next migration may forget is found.
            try connection.execute(
                """
                CREATE TABLE bare (project_id text);
                CREATE TABLE wide (project_id text);
                ALTER TABLE wide ENABLE ROW LEVEL SECURITY;
                CREATE POLICY tenant ON wide TO xerotier_tenant USING (true);
                GRANT SELECT (project_id) ON wide TO PUBLIC;
                CREATE VIEW behind AS SELECT * FROM endpoints;
                GRANT SELECT ON behind TO xerotier_tenant;
                GRANT SELECT ON usage_events_default TO xerotier_tenant;
                CREATE FUNCTION above() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS 'SELECT count(*) FROM endpoints';
                GRANT SELECT ON schema_migrations TO xerotier_tenant;
                """)
            #expect(
                try holes() == [
                    "above runs with its owner's rights", "bare has no policy for xerotier_tenant", "bare has no row-level security",
                    "behind is a view with its owner's rights", "schema_migrations is open",
                    "usage_events_default is a partition that xerotier_tenant may reach directly",
                    "wide has a policy without the project", "wide is open to PUBLIC",
                ])
        }
    }

    /// The files that may see all projects. Add one only if it is part of authentication, the committer, a worker, or the operator's tools.
    private static let system: Set = [
        "Sources/Tenancy/SystemDatabase.swift",
        // Keys and paths tell the project, so they are looked up before there is one.
        "Sources/Accounts/KeyAuthenticator.swift", "Sources/Accounts/KeyRecord.swift", "Sources/Accounts/KeyUses.swift",
        // The keys that seal are made and unwrapped beside all tenants, and rewrapped for all at once.
        "Sources/Accounts/DataKeys.swift", "Sources/Accounts/DataKeyStore.swift", "Sources/Catalog/LegacyUpstreamKeys.swift",
        // What is to be stored no longer is deleted for all projects.
        "Sources/Storage/StorageSweep.swift",
        // The servers of all projects' endpoints are asked for their health.
        "Sources/Catalog/EndpointProbes.swift",
        // One batch holds the rows of many projects.
        "Sources/Jobs/Committer.swift", "Sources/Jobs/BatchWriter.swift", "Sources/Jobs/Commit.swift",
        // A join key tells the project, so it is looked up before there is one.
        "Sources/Agents/Enrolment.swift", "Sources/Agents/EnrolmentRoutes.swift",
        // Shared agents belong to no project.
        "Sources/Agents/SharedAgents.swift",
        // Agents of all projects come in by one door, and the mesh says when they come and go.
        "Sources/Agents/AgentEvent.swift", "Sources/Agents/MeshStore.swift", "workers/mesh/AgentDirectory.swift",
        // The router chooses for all projects.
        "Sources/Agents/RoutingDecisions.swift", "workers/mesh/DecisionLog.swift",
        // Workers do the jobs of all projects; requests write them as their tenant.
        "Sources/Jobs/Enqueue.swift", "Sources/Jobs/Events.swift", "Sources/Jobs/JobReadout.swift", "Sources/Jobs/JobRun.swift",
        "Sources/Jobs/JobStore.swift", "Sources/Jobs/JobSweep.swift", "Sources/Jobs/Worker.swift", "Sources/Worker/WorkerProcess.swift",
        // Deliveries of all projects are the worker's.
        "Sources/Notifications/WebhookDeliveries.swift",
        // Money moves between a project's accounts and the platform's.
        "Sources/Billing/Ledger.swift", "Sources/Billing/LedgerVerification.swift", "Sources/Billing/OrderStore.swift",
        "Sources/Billing/TopUps.swift",
        // A run of the rollups takes the rows of all projects; a night gives old ones up.
        "Sources/Billing/UsageRollups.swift", "Sources/Billing/UsageNight.swift",
        // Alerts and mails of all projects are the worker's.
        "Sources/Billing/BudgetWork.swift", "Sources/Mail/MailQueue.swift", "workers/billing/BudgetCommand.swift",
        // The operator makes projects and sets tiers.
        "Sources/Accounts/ProjectRecord.swift", "Sources/Catalog/TierStore.swift", "Sources/Catalog/TierRoutes.swift",
        "workers/migrate/Settings.swift",
        // People belong to no project; the chain of the platform has none, and the operator verifies all chains.
        "Sources/Accounts/Members.swift", "Sources/Accounts/AuditStore.swift", "Sources/Server/Audit.swift",
        // Leases of all that runs in a process are renewed together, and old keys are forgotten for all.
        "Sources/Server/Idempotency/Idempotency.swift", "Sources/Server/Idempotency/IdempotencyStore.swift",
        // Money is the operator's, too, and what expired is everybody's.
        "workers/billing/Settings.swift", "workers/billing/Work.swift", "workers/sweeper/Sweeper.swift",
        // Assembles the above, and asks whether the database is there.
        "Sources/gateway/Assembly.swift", "Sources/gateway/Routes.swift",
    ]

    /// The files that may have a connection with the rights of its login.
    private static let raw: Set = [
        "Sources/Tenancy/SystemDatabase.swift", "Sources/Tenancy/TenantDatabase.swift", "Sources/Tenancy/DatabaseRole.swift",
        // `migrate up`, as the owner of the tables.
        "workers/migrate/Settings.swift",
    ]

    @Test func onlyTheListedFilesReachBeyondOneProject() throws {
        var (system, raw): (Set<String>, Set<String>) = ([], [])
        let root = URL(fileURLWithPath: PostgresServer.repository)
        for folder in ["Sources", "workers"] {
            let files = try #require(FileManager.default.enumerator(atPath: root.appending(path: folder).path))
            for case let file as String in files where file.hasSuffix(".swift") && !"\(folder)/\(file)".hasPrefix("Sources/Postgres/") {
                let text = try String(contentsOf: root.appending(path: "\(folder)/\(file)"), encoding: .utf8)
                let code = text.split(separator: "\n").filter { !$0.drop(while: \.isWhitespace).hasPrefix("//") }.joined(separator: "\n")
                if code.contains(/\b(SystemDatabase|SystemConnection)\b/) { system.insert("\(folder)/\(file)") }
                if code.contains(/\b(Database|Connection)\b/) { raw.insert("\(folder)/\(file)") }
            }
        }
        #expect(system == Self.system)
        #expect(raw == Self.raw)
    }

    /// What the compiler says about a function that has a database, a raw connection and a project; empty when it is content.
    private static func errors(in body: String) throws -> String {
        let path = "/tmp/xt\(UInt32.random(in: 0...UInt32.max))"
        defer { ["swift", "txt"].forEach { unlink("\(path).\($0)") } }
        try """
        import OpenAI
        import Postgres
        import Server
        import Tenancy

        func use(_ tenants: TenantDatabase, _ raw: Connection, _ project: ID<Project>) throws {
            \(body)
        }
        """.write(toFile: "\(path).swift", atomically: true, encoding: .utf8)
        let root = PostgresServer.repository
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let libraries = try FileManager.default.contentsOfDirectory(atPath: "\(root)/Sources").map { "\(root)/Sources/\($0)" }
        let maps = (libraries + ["\(root)/.build/release/CSimdJSON.build"]).map { "\($0)/module.modulemap" }
        process.arguments =
            ["swiftc", "-typecheck", "-swift-version", "6", "-I", "\(root)/.build/release/Modules", "\(path).swift"]
            + maps.filter(FileManager.default.fileExists).flatMap { ["-Xcc", "-fmodule-map-file=\($0)"] }
        try Data().write(to: URL(fileURLWithPath: "\(path).txt"))
        process.standardOutput = FileHandle.nullDevice
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(path).txt"))
        try process.run()
        process.waitUntilExit()
        let text = try String(contentsOfFile: "\(path).txt", encoding: .utf8)
        #expect((process.terminationStatus == 0) == text.isEmpty, "\(text)")
        return text
    }

    @Test(arguments: [
        ("_ = Route(.get, \"x\", .all, .inference, meter: .none) { _, _ in .json([]) }", nil),
        ("_ = Route(.get, \"x\", .all, .inference) { _, _ in .json([]) }", "missing argument for parameter 'meter'"),
        ("_ = Route(.get, \"x\", .all, meter: .none) { _, _ in .json([]) }", "missing argument for parameter #4"),
    ])
    func aRouteWithoutScopeOrMeterDoesNotCompile(body: String, error: String?) async throws {
        try await onThread { try Self.check(body, error) }
    }

    @Test(arguments: [
        ("_ = try tenants.withConnection(of: project) { try $0.query(\"SELECT 1\") }", nil),
        ("_ = try tenants.withConnection { try $0.query(\"SELECT 1\") }", "missing argument for parameter 'of'"),
        ("_ = try tenants.transaction { try $0.query(\"SELECT 1\") }", "missing argument for parameter 'of'"),
        ("_ = try tenants.withConnection(of: nil) { try $0.query(\"SELECT 1\") }", "'nil' is not compatible with expected argument type"),
        ("_ = try tenants.query(\"SELECT 1\")", "has no member 'query'"),
        ("_ = TenantConnection(raw, project)", "is inaccessible"),
        ("_ = try tenants.withConnection(of: project) { $0.project = project }", "is a 'let' constant"),
    ])
    func aTenantQueryWithoutAProjectDoesNotCompile(body: String, error: String?) async throws {
        try await onThread { try Self.check(body, error) }
    }

    private static func check(_ body: String, _ error: String?) throws {
        let errors = try errors(in: body)
        if let error { #expect(errors.contains(error), "\(errors)") } else { #expect(errors.isEmpty, "\(errors)") }
    }
}
