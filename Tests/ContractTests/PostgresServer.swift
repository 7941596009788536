import Accounts
import Foundation
import OpenAI
import Postgres
import Tenancy
import Testing

/// The Postgres server of the tests, named by XEROTIER_DATABASE_URL; `make test` starts one. Each test gets a database of its own.
enum PostgresServer {
    static let url = ProcessInfo.processInfo.environment["XEROTIER_DATABASE_URL"] ?? ""
    /// In CI the tests run, and fail, also without a server.
    static let isConfigured = !url.isEmpty || ProcessInfo.processInfo.environment["CI"] == "true"
    static let skipReason: Comment = "XEROTIER_DATABASE_URL is not set: no test of Postgres runs. `make test` sets it."

    private static let template: Result<String, any Error> = Result { try makeTemplate() }

    /// A database with the schema and the next months' partitions, made once for all runs with the same migrations.
    private static func makeTemplate() throws -> String {
        let migrations = try Migrations(directory: migrationsDirectory)
        let checksum = migrations.files.reduce(into: UInt64(5_381)) { hash, file in
            for byte in file.sql.utf8 { hash = hash &* 33 &+ UInt64(byte) }
        }
        let name = "xerotier_template_\(String(checksum, radix: 36))"
        let connection = try Connection(url: url)
        try connection.query("SELECT pg_advisory_lock(42)")
        if try connection.query("SELECT 1 FROM pg_database WHERE datname = \(name)").isEmpty {
            try connection.execute("DROP DATABASE IF EXISTS \(name)_new")
            try connection.execute("CREATE DATABASE \(name)_new")
            try prepare(database: "\(name)_new", migrations)
            try connection.execute("ALTER DATABASE \(name)_new RENAME TO \(name)")
        }
        return name
    }

    private static func prepare(database: String, _ migrations: Migrations) throws {
        let connection = try Connection(url: try conninfo(database: database))
        _ = try migrations.apply(on: connection)
        try connection.query("SELECT create_usage_partitions(now(), 1)")
    }

    static let migrationsDirectory = repository + "/infra/postgres/migrations"
    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// A new database with the schema.
    static func makeDatabase() throws -> TestDatabase { try TestDatabase(template: template.get()) }
    /// A new database without anything.
    static func makeEmptyDatabase() throws -> TestDatabase { try TestDatabase(template: "template0") }

    /// How to reach a database of the server, through its unix socket or another one in `directory`.
    static func conninfo(database: String, directory: String? = nil) throws -> String {
        let row = try Connection(url: url).query("SELECT current_user AS name, current_setting('port') AS port")[0]
        let port: String = directory == nil ? try row.get("port") : "5432"
        return try "host='\(directory ?? socketDirectory())' port=\(port) user='\(row.get("name", as: String.self))' dbname='\(database)'"
    }

    static func socketPath() throws -> String {
        let port: String = try Connection(url: url).query("SELECT current_setting('port') AS port")[0].get("port")
        return try "\(socketDirectory())/.s.PGSQL.\(port)"
    }

    /// From the URL's `host`; the server itself tells only superusers.
    private static func socketDirectory() throws -> String {
        let host = try #require(url.firstMatch(of: /host=([^& ]+)/)?.output.1)
        return try #require(String(host).removingPercentEncoding)
    }
}

/// A database that is dropped when the tests end; not before, because ARC may release its owner while the test still uses it.
final class TestDatabase: Sendable {
    let name: String
    let url: String

    init(template: String) throws {
        name = "xerotier_test_\(String(UInt64.random(in: 0...UInt64.max), radix: 36))"
        // Two copies of one template at the same moment would refuse each other.
        var patient = ConnectionOptions()
        patient.statementTimeoutMilliseconds = 120_000
        let connection = try Connection(url: PostgresServer.url, options: patient)
        try connection.query("SELECT pg_advisory_lock(43)")
        try connection.execute("CREATE DATABASE \(name) TEMPLATE \(template)")
        url = try PostgresServer.conninfo(database: name)
        let name = self.name
        // A database that is left behind costs a little space; the test has already said what it had to say.
        AtExit.add { _ = try? Connection(url: PostgresServer.url).execute("DROP DATABASE IF EXISTS \(name) WITH (FORCE)") }
    }

    func connect(_ change: (inout ConnectionOptions) -> Void = { _ in }) throws -> Connection {
        var options = ConnectionOptions()
        change(&options)
        return try Connection(url: url, options: options)
    }

    func pool(size: Int = 4, waitMilliseconds: Int = 2_000) -> Database {
        Database(url: url, size: size, waitMilliseconds: waitMilliseconds)
    }

    func system(size: Int = 4) -> SystemDatabase { SystemDatabase(url: url, size: size) }
    func tenants(size: Int = 4) -> TenantDatabase { TenantDatabase(url: url, size: size) }

    /// A new project, and the database as it sees it.
    func makeProject(_ slug: String) throws -> TestProject {
        let id = try system(size: 1).withConnection { try $0.setProject(slug: slug, name: nil, by: tester).id }
        return TestProject(id: id, tenants: tenants())
    }
}

struct TestProject {
    let id: ID<Project>
    let tenants: TenantDatabase

    func withConnection<Value>(_ body: (TenantConnection) throws -> Value) throws -> Value {
        try tenants.withConnection(of: id, body)
    }
}
