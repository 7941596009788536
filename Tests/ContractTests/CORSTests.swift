import Accounts
import Catalog
import Crypto
import Foundation
import HTTPClient
import OpenAI
import Postgres
import Server
import Tenancy
import Testing

/// A project with an endpoint `talk`, behind a proxy to Postgres that can be cut, and what a gateway decides by.
private final class CORSBench {
    let project: TestProject
    let proxy: CuttingProxy
    let authenticator: KeyAuthenticator
    let catalog: PostgresCatalog
    let table: CORSTable

    init() throws {
        let database = try PostgresServer.makeDatabase()
        project = try database.makeProject("acme")
        let sealing = Sealing(keys: DataKeys(database: database.system(), masters: try MasterKeys(current: SealingTests.first)))
        var change = EndpointChange()
        change.tier = "demo"
        change.model = "m"
        change.urls = ["https://a.example"]
        _ = try project.withConnection { try $0.setEndpoint("talk", to: change, sealing: sealing, outbound: OutboundGuard(), by: tester) }
        proxy = try CuttingProxy(target: PostgresServer.socketPath())
        let url = try PostgresServer.conninfo(database: database.name, directory: proxy.directory)
        authenticator = KeyAuthenticator(database: SystemDatabase(url: url, size: 2), logger: quiet)
        catalog = PostgresCatalog(database: TenantDatabase(url: url, size: 2), sealing: sealing, logger: quiet)
        table = CORSTable(authenticator: authenticator, catalog: catalog)
    }

    func set(_ origins: [String]) throws -> StoredCORSPolicy {
        var policy = CORSPolicy.standard
        policy.allowOrigins = origins
        return try project.withConnection { [policy] in try $0.setCORSPolicy(policy, of: "talk", by: tester) }
    }

    func allowed(_ origin: String, project: String = "acme", endpoint: String = "talk") -> String? {
        table.policy(project: project, endpoint: endpoint)?.allowedOrigin(for: origin)
    }

    func end() {
        authenticator.shutdown()
        catalog.shutdown()
        proxy.close()
    }
}

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct CORSTests {
    @Test func aPolicyCountsAndActsWithinTheAgeOfRecords() async throws {
        try await onThread {
            let bench = try CORSBench()
            #expect(bench.allowed("https://a.example") == "*")
            #expect(try bench.project.withConnection { try $0.corsPolicy(of: "talk") }.generation == 1)
            #expect(try bench.set(["https://a.example"]).generation == 2)
            // Without a message, too.
            #expect(eventually(within: .milliseconds(1_500)) { bench.allowed("https://a.example") == "https://a.example" })
            #expect(bench.allowed("https://b.example") == nil)
            #expect(try bench.set(["https://b.example"]).generation == 3)
            bench.catalog.invalidate(message: "project:\(bench.project.id)")
            #expect(bench.allowed("https://b.example") == "https://b.example" && bench.allowed("https://a.example") == nil)
            #expect(bench.allowed("https://b.example", project: bench.project.id.description) == "https://b.example")
            #expect(bench.table.policy(project: "acme", endpoint: "nothing") == nil)
            #expect(bench.table.policy(project: "nobody", endpoint: "talk") == nil)
            bench.end()
        }
    }

    @Test func theLastKnownPolicyHoldsWhilePostgresIsAway() async throws {
        try await onThread {
            let bench = try CORSBench()
            _ = try bench.set(["https://a.example"])
            #expect(bench.allowed("https://a.example") != nil)
            bench.proxy.set(.refuse)
            bench.proxy.cut()
            #expect(eventually(within: .milliseconds(1_500)) { (try? bench.authenticator.projectID(named: "acme")) == nil })
            #expect(bench.allowed("https://a.example") == "https://a.example" && bench.allowed("https://b.example") == nil)
            // Nothing is known of what nobody asked for before.
            #expect(bench.table.policy(project: "acme", endpoint: "other") == nil)
            bench.proxy.set(.forward)
            _ = try bench.set([])
            #expect(eventually(within: .seconds(3)) { bench.allowed("https://a.example") == nil })
            bench.end()
        }
    }
}
