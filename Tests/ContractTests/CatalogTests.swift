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
struct PostgresCatalogTests {
    private static func sealing(_ masterKey: String, _ database: TestDatabase) throws -> Sealing {
        Sealing(keys: DataKeys(database: database.system(), masters: try MasterKeys(current: masterKey)))
    }

    @Test func anEndpointIsReadAsItWasSet() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let connection = try database.connect()
            let sealing = try Self.sealing(SealingTests.first, database)
            let acme = try database.makeProject("acme")
            let project = acme.id
            let outbound = OutboundGuard(allowHosts: ["127.0.0.1:8180"])
            var change = EndpointChange()
            change.tier = "gpu_nvidia_dedicated"
            change.model = "smol/LM-135M"
            change.urls = ["http://127.0.0.1:8180/v1"]
            change.upstreamKey = "sk-secret"
            change.headers = ["X-A": "b"]
            change.limits = EndpointLimits()
            change.limits?.maxConcurrent = 3
            change.defaults = EndpointDefaults()
            change.defaults?.temperature = 0.7
            change.contextLength = 2_048
            _ = try acme.withConnection { try $0.setEndpoint("chatty", to: change, sealing: sealing, outbound: outbound, by: tester) }
            let catalog = PostgresCatalog(database: database.tenants(), sealing: sealing, logger: quiet)
            let endpoint = try #require(catalog.catalog(of: project).endpoints.first)
            #expect(endpoint.slug == "chatty" && endpoint.status == .active && endpoint.generation == 1)
            #expect(endpoint.tier.slug == "gpu_nvidia_shared" && endpoint.tier.priceNanoPerMtok == 1_250_000_000)
            #expect(endpoint.modelName == "smol/LM-135M" && endpoint.contextLength == 2_048)
            #expect(endpoint.upstream.apiKey == "sk-secret" && endpoint.upstream.headers == ["X-A": "b"])
            #expect(endpoint.effectiveLimits.concurrent == 3 && endpoint.defaults.temperature == 0.7)
            #expect(try connection.query("SELECT 1 FROM endpoints WHERE position('sk-secret'::bytea IN upstream_api_key) > 0").isEmpty)

            // The same again changes nothing; a change counts, and is seen after the message.
            _ = try acme.withConnection { try $0.setEndpoint("chatty", to: change, sealing: sealing, outbound: outbound, by: tester) }
            change.status = .inactive
            _ = try acme.withConnection { try $0.setEndpoint("chatty", to: change, sealing: sealing, outbound: outbound, by: tester) }
            catalog.invalidate(message: "project:\(project)")
            #expect(try catalog.catalog(of: project).endpoints.first?.status == .inactive)
            #expect(try catalog.catalog(of: project).endpoints.first?.generation == 2)
            var tier = TierChange()
            tier.priceNanoPerMtok = 5
            tier.tokensPerMinute = TierChange.Cap.none
            _ = try database.system().withConnection { try $0.setTier("gpu_nvidia_shared", to: tier, by: tester) }
            catalog.invalidate(message: "tiers")
            #expect(try catalog.catalog(of: project).endpoints.first?.tier.priceNanoPerMtok == 5)
            #expect(try catalog.catalog(of: project).endpoints.first?.tier.tokensPerMinute == nil)
            #expect(try catalog.catalog(of: .random()).endpoints.isEmpty)
            catalog.shutdown()
        }
    }

    @Test func anUpstreamKeySealedWithAnotherMasterKeyFailsOnlyItsEndpoint() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let acme = try database.makeProject("acme")
            let project = acme.id
            var change = EndpointChange()
            change.tier = "demo"
            change.model = "m"
            change.urls = ["https://a.example"]
            let sealing = try Self.sealing(SealingTests.first, database)
            _ = try acme.withConnection { try $0.setEndpoint("plain", to: change, sealing: sealing, outbound: OutboundGuard(), by: tester) }
            change.upstreamKey = "k"
            let other = try Self.sealing(SealingTests.second, database)
            _ = try acme.withConnection { try $0.setEndpoint("keyed", to: change, sealing: other, outbound: OutboundGuard(), by: tester) }
            let catalog = PostgresCatalog(database: database.tenants(), sealing: sealing, logger: quiet)
            let endpoints = try catalog.catalog(of: project).endpoints
            #expect(endpoints.first { $0.slug == "plain" }?.status == .active)
            #expect(endpoints.first { $0.slug == "keyed" }?.status == .failed)
            catalog.shutdown()
        }
    }
}
