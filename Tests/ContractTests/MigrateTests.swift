import Foundation
import Postgres
import Testing

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct MigrateTests {
    /// Columns, constraints, indexes, functions, policies and rights, as text.
    static let shape: SQL = """
        SELECT string_agg(line, chr(10) ORDER BY line) AS shape FROM (
            SELECT format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                pg_get_expr(d.adbin, d.adrelid)) AS line
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL SELECT pg_get_constraintdef(oid, true) || conrelid::regclass FROM pg_constraint
                WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
            UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            UNION ALL SELECT format('%s %s', oid::regclass, relrowsecurity) FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            UNION ALL SELECT p::text FROM pg_policies p WHERE schemaname = 'public'
            UNION ALL SELECT format('%s %s %s', c.oid::regclass, a.grantee::regrole, a.privilege_type) FROM pg_class c, aclexplode(c.relacl) a
                WHERE relnamespace = 'public'::regnamespace
        ) AS lines
        """

    @Test func theCommittedSchemaIsThatOfTheMigrations() async throws {
        try await onThread {
            let migrated = try PostgresServer.makeEmptyDatabase().connect()
            _ = try Migrations(directory: PostgresServer.migrationsDirectory).apply(on: migrated)
            let dumped = try PostgresServer.makeEmptyDatabase().connect()
            try dumped.execute(try String(contentsOfFile: PostgresServer.repository + "/infra/postgres/schema.sql", encoding: .utf8))
            // The dump empties the search path of its session.
            try dumped.execute("SET search_path = public")
            let expected: String = try migrated.query(Self.shape)[0].get("shape")
            let found: String = try dumped.query(Self.shape)[0].get("shape")
            #expect(found == expected, "infra/postgres/schema.sql is out of date: run infra/postgres/dump-schema")
        }
    }

    @Test func migrationsGoForwardOnlyAndOnlyOnce() async throws {
        try await onThread {
            let directory = "/tmp/xm\(UInt32.random(in: 0...UInt32.max))"
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            AtExit.add { try? FileManager.default.removeItem(atPath: directory) }
            func write(_ name: String, _ sql: String) throws {
                try sql.write(toFile: "\(directory)/\(name).sql", atomically: true, encoding: .utf8)
            }
            func apply(_ connection: Connection) throws -> [String] { try Migrations(directory: directory).apply(on: connection) }
            let database = try PostgresServer.makeEmptyDatabase()
            let connection = try database.connect()
            try write("20260101000000_create_a", "CREATE TABLE a (id int)")
            try write("20260103000000_create_c", "CREATE TABLE c (id int); SELECT 1/0")
            // The bad one leaves nothing behind, the good one stays.
            #expect(#expect(throws: PostgresError.self) { try apply(connection) }?.sqlState == "22012")
            try write("20260103000000_create_c", "CREATE TABLE c (id int)")
            #expect(try apply(connection) == ["20260103000000_create_c"])
            #expect(try apply(connection) == [])
            try write("20260102000000_create_b", "CREATE TABLE b (id int)")
            #expect(throws: MigrationError.outOfOrder("20260102000000_create_b", after: "20260103000000_create_c")) {
                try apply(connection)
            }
            try FileManager.default.removeItem(atPath: "\(directory)/20260102000000_create_b.sql")
            try write("20260101000000_create_a", "CREATE TABLE a (id bigint)")
            #expect(throws: MigrationError.edited("20260101000000_create_a")) { try apply(connection) }
            try FileManager.default.removeItem(atPath: "\(directory)/20260101000000_create_a.sql")
            #expect(throws: MigrationError.unknown("20260101000000_create_a")) { try apply(connection) }
        }
    }

    @Test func severalMigrationsAtOnceApplyOnce() async throws {
        try await onThread {
            let database = try PostgresServer.makeEmptyDatabase()
            onThreads(5) { _ in
                do { _ = try Migrations(directory: PostgresServer.migrationsDirectory).apply(on: database.connect()) } catch {
                    Issue.record(error)
                }
            }
            let count: Int = try database.connect().query("SELECT count(*) AS n FROM schema_migrations")[0].get("n")
            #expect(try count == Migrations(directory: PostgresServer.migrationsDirectory).files.count)
        }
    }
}
