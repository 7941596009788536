import Accounts
import Catalog
import Crypto
import Foundation
import HTTPClient
import Inference
import JSON
import OpenAI
import Postgres
import Redis
import Server
import Tenancy
import Testing

/// Endpoints as the store writes them, whoever asks (07 §6).
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct EndpointTests {
    /// A project, and the short way to write its endpoints.
    struct Bench {
        let database: TestDatabase
        let project: TestProject
        let sealing: Sealing
        let outbound = OutboundGuard(allowHosts: ["listed.example:443", "127.0.0.1:9"])

        init() throws {
            database = try PostgresServer.makeDatabase()
            project = try database.makeProject("acme")
            sealing = Sealing(keys: DataKeys(database: database.system(), masters: try MasterKeys(current: SealingTests.first)))
        }

        @discardableResult
        func write(
            _ name: String, _ write: EndpointWrite, timeScale: Double = 1, by actor: AuditActor = tester, _ json: String
        ) throws -> EndpointObject {
            let body = try RequestDocument.read(Array(json.utf8), JSONParser()) {
                try EndpointBody($0, isWhole: write == .create)
            }
            return try project.withConnection {
                let vetted = try VettedEndpointChange(body.change, of: $0.project, sealing: sealing, outbound: outbound)
                return try $0.writeEndpoint(name, write, vetted, timeScale: timeScale, by: actor)
            }
        }

        /// All rows of endpoints and models, and how many lines of audit there are.
        func state() throws -> [String] {
            try database.connect().query(
                """
                SELECT row_to_json(e)::text AS line FROM endpoints e UNION ALL SELECT row_to_json(m)::text FROM models m
                UNION ALL SELECT count(*)::text FROM audit_log ORDER BY 1
                """
            ).map { try $0.get("line") }
        }
    }

    private static func refusal(_ body: () throws -> some Any) -> APIError? {
        do {
            _ = try body()
            return nil
        } catch { return (error as? any APIErrorConvertible)?.apiError }
    }

    private static let plain = #"{"slug":"a","tier":"self_hosted","upstream":{"url":"https://a.example/v1"}}"#

    @Test func aNewEndpointWaitsForItsFirstProbe() async throws {
        try await onThread {
            let bench = try Bench()
            let made = try bench.write("a", .create, Self.plain)
            #expect(made.status == .provisioning && made.generation == 1 && made.settings.name == "a" && made.settings.model == "a")
            #expect(made.settings.upstream.urls == ["https://a.example/v1"] && !made.hasUpstreamKey)
            // What the operator makes is active at once.
            #expect(try bench.write("b", .set, Self.plain).status == .active)
            let again = Self.refusal { try bench.write("a", .create, Self.plain) }
            #expect(again?.code == .slugTaken && again?.param == "slug")
        }
    }

    @Test func aRefusedWriteChangesNothing() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.write("a", .create, Self.plain)
            let before = try bench.state()
            for (json, code) in [
                (#"{"tier":"gpu_amd_shared"}"#, ErrorCode.tierNotAllowed), (#"{"tier":"no-such"}"#, .invalidValue),
                (#"{"model":"a b"}"#, .invalidValue), (#"{"limits":{"max_concurrent":101}}"#, .invalidValue),
                (#"{"upstream":{"url":"https://10.0.0.1/"}}"#, .egressBlocked),
                (#"{"model":"mdl_0123456789abcdefghijklmn"}"#, .modelNotFound),
                (#"{"model":"new-model","model_version":"7"}"#, .invalidVersion),
            ] {
                let error = Self.refusal { try bench.write("a", .change(if: nil), json) }
                #expect(error?.code == code && error?.param != nil, "\(json): \(String(describing: error))")
            }
            #expect(throws: (any Error).self) { try bench.write("a", .change(if: EntityTags(version: 2)), #"{"description":"x"}"#) }
            #expect(throws: CatalogError.endpointNotFound) { try bench.write("none", .change(if: nil), "{}") }
            #expect(try bench.state() == before)
        }
    }

    @Test func everyChangeHasOneLineAndCountsTheGeneration() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.write("a", .create, Self.plain)
            #expect(try bench.write("a", .change(if: EntityTags(version: 1)), #"{"defaults":{"temperature":0.2}}"#).generation == 2)
            #expect(try bench.write("a", .change(if: EntityTags(version: 2)), #"{"defaults":{"temperature":0.2}}"#).generation == 2)
            let steps: [EndpointStep] = [.deactivate, .activate, .restart]
            for (number, step) in steps.enumerated() {
                let moved = try bench.project.withConnection { try $0.step(step, endpoint: "a", if: nil, by: tester) }
                #expect(moved.generation == Int64(number) + 3)
            }
            _ = try bench.project.withConnection { try $0.deleteEndpoint("a", if: EntityTags(version: 5), by: tester) }
            let lines = try bench.database.connect().query("SELECT action FROM audit_log WHERE target_type = 'endpoint' ORDER BY seq")
            #expect(
                try lines.map { try $0.get("action") } == [
                    "endpoint.create", "endpoint.update", "endpoint.deactivate", "endpoint.activate", "endpoint.restart", "endpoint.delete",
                ])
        }
    }

    @Test func ofManyWritersEachGetsASlugOrARefusal() async throws {
        try await onThread {
            let bench = try Bench()
            nonisolated(unsafe) var outcomes: [String] = []
            let lock = NSLock()
            onThreads(12) { number in
                let slug = "s\(number % 3)"
                let outcome: String
                do {
                    outcome = try bench.write(slug, .create, Self.plain.replacing("\"a\"", with: "\"\(slug)\"")).slug
                } catch { outcome = (error as? any APIErrorConvertible)?.apiError.code.name ?? "\(error)" }
                lock.withLock { outcomes.append(outcome) }
            }
            #expect(outcomes.sorted() == ["s0", "s1", "s2"] + Array(repeating: "slug_taken", count: 9))
        }
    }

    @Test func thePlacesOfATierAreCountedAlsoAmongManyAtOnce() async throws {
        try await onThread {
            let bench = try Bench()
            nonisolated(unsafe) var made = 0
            let lock = NSLock()
            onThreads(8) { number in
                let json = #"{"slug":"f\#(number)","tier":"free","upstream":{"url":"https://listed.example"}}"#
                if (try? bench.write("f\(number)", .create, json)) != nil { lock.withLock { made += 1 } }
            }
            #expect(made == 2)
        }
    }

    @Test func aSlugIsFreeAgainADayAfterItsEndpointWasDeleted() async throws {
        try await onThread {
            let bench = try Bench()
            let first = try bench.write("a", .create, Self.plain)
            _ = try bench.project.withConnection { try $0.deleteEndpoint("a", if: nil, by: tester) }
            let connection = try bench.database.connect()
            for (age, isFree) in [("23 hours 59 minutes", false), ("24 hours 1 second", true)] {
                try connection.query("UPDATE endpoints SET deleted_at = now() - \(age)::interval WHERE id = \(first.id)")
                #expect(((try? bench.write("a", .create, Self.plain)) != nil) == isFree, "\(age)")
            }
            // Its rows are still there under its slug, and say that it is deleted.
            #expect(try connection.query("SELECT slug FROM endpoints WHERE id = \(first.id) AND deleted_at IS NOT NULL").count == 1)
        }
    }

    @Test func probesMoveTheStateAndNothingElse() async throws {
        try await onThread {
            let bench = try Bench()
            let redis = try RedisServer()
            let probes = EndpointProbes(
                database: bench.database.system(), sealing: bench.sealing,
                invalidations: Invalidations(redis: RedisPool(socket: redis.socket, size: 1), logger: quiet), timeScale: 1, logger: quiet)
            try bench.write(
                "a", .create,
                #"{"slug":"a","tier":"self_hosted","upstream":{"urls":["https://a.example","https://b.example"],"api_key":"sk-1"}}"#)
            let connection = try bench.database.connect()

            /// One round: what was claimed, and the state after it.
            func round(ready: Int) throws -> String {
                try connection.query("UPDATE endpoints SET probed_at = NULL")
                let due = try probes.claim(atMost: 5)
                #expect(due.map(\.slug) == ["a"] && due[0].upstream.apiKey == "sk-1")
                #expect(try probes.claim(atMost: 5).isEmpty, "claimed twice")
                try probes.report(due[0], ready: ready)
                let row = try connection.query("SELECT status, generation, ready_servers FROM endpoints")[0]
                #expect(try row.get("generation") == 1 && row.get("ready_servers") == ready)
                return try row.get("status")
            }
            #expect(try [0, 0, 0].map(round) == ["provisioning", "provisioning", "failed"])
            #expect(try [1, 2].map(round) == ["active", "active"])
            #expect(try [1, 1, 1, 1, 0].map(round) == ["active", "active", "degraded", "degraded", "degraded"])
            #expect(try round(ready: 2) == "active")
            // A report about what has changed meanwhile says nothing any more.
            try connection.query("UPDATE endpoints SET probed_at = NULL")
            let old = try probes.claim(atMost: 5)[0]
            _ = try bench.project.withConnection { try $0.step(.deactivate, endpoint: "a", if: nil, by: tester) }
            try probes.report(old, ready: 2)
            #expect(try connection.query("SELECT status FROM endpoints")[0].get("status") == "inactive")
            #expect(try probes.claim(atMost: 5).isEmpty)
        }
    }

    @Test func deletionsEndWithTheLastRequestThatMayRun() async throws {
        try await onThread {
            let bench = try Bench()
            let redis = try RedisServer()
            let probes = EndpointProbes(
                database: bench.database.system(), sealing: bench.sealing,
                invalidations: Invalidations(redis: RedisPool(socket: redis.socket, size: 1), logger: quiet), timeScale: 1, logger: quiet)
            try bench.write("a", .create, Self.plain)
            _ = try bench.project.withConnection { try $0.deleteEndpoint("a", if: nil, by: tester) }
            let connection = try bench.database.connect()
            for (seconds, status) in [(0, "deleting"), (1_700, "deleting"), (1_900, "deleted")] {
                try connection.query("UPDATE endpoints SET deleted_at = now() - make_interval(secs => \(seconds)::integer)")
                try probes.finishDeletions()
                #expect(try connection.query("SELECT status FROM endpoints")[0].get("status") == status)
            }
        }
    }

    @Test func statsCountTheRowsOfTheWindow() async throws {
        try await onThread {
            let bench = try Bench()
            let id = try bench.write("a", .create, Self.plain).id
            let other = try bench.write("b", .create, Self.plain.replacing("\"a\"", with: "\"b\"")).id
            let connection = try bench.database.connect()
            func row(_ number: Int, _ endpoint: ID<Endpoint>, minutesAgo: Int, fault: String = "none", latency: Int) throws {
                try connection.query(
                    """
                    INSERT INTO usage_events (id, project_id, endpoint_id, request_id, surface, service_tier, tier, is_xim, is_stream,
                        input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano, price_nano_per_mtok, multiplier_bp, status_code,
                        fault, cut_by_client, ttft_ms, latency_ms, queue_ms, router_us, retries, created_at)
                    VALUES (\("r\(number)"), \(bench.project.id), \(endpoint), \("r\(number)"), 'chat', 'default', 'self_hosted', false, false,
                        100, 10, 25, 0, 0, 0, 10000, 200, \(fault), false, \(latency / 2), \(latency), 0, 0, 0,
                        now() - make_interval(mins => \(minutesAgo)::integer))
                    """)
            }
            func stats(_ window: StatsWindow) throws -> EndpointStats {
                try bench.project.withConnection { try $0.endpointStats("a", window) }
            }
            let none = try stats(.hour)
            #expect(none.requests == 0 && none.rps == 0 && none.errorRatio == 0 && none.cacheHitRatio == 0 && none.latency.p50 == nil)
            for number in 1...100 {
                try row(number, id, minutesAgo: 30, fault: number <= 5 ? "agent" : number <= 8 ? "client" : "none", latency: number * 10)
            }
            try row(101, id, minutesAgo: 120, latency: 5_000)
            try row(102, other, minutesAgo: 1, latency: 9_000)
            let hour = try stats(.hour)
            #expect(hour.requests == 100 && hour.tokens == ["input": 10_000, "cached": 2_500, "output": 1_000, "reasoning": 0])
            #expect(hour.latency.p50 == 500 && hour.latency.p95 == 950 && hour.latency.p99 == 990 && hour.ttft.p90 == 450)
            #expect(hour.errors == ["client": 3, "agent": 5, "router": 0, "policy": 0])
            #expect("\(hour.errorRatio)" == "0.05" && "\(hour.cacheHitRatio)" == "0.25" && "\(hour.rps)" == "0.0278")
            #expect(try stats(.day).requests == 101 && stats(.week).requests == 101)
        }
    }
}
