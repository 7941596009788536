import Billing
import Foundation
import Jobs
import OpenAI
import Postgres
import Testing

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct UsageEventTests {
    private static func event(_ id: String, of project: TestProject) -> UsageEvent {
        let now = Int64(Date().timeIntervalSince1970) * 1_000_000 + 123_456
        var event = UsageEvent(
            id: id, projectID: project.id, requestID: "req_0123456789abcdefghijklmn", surface: .chat, tier: "demo", isStream: true,
            priceNanoPerMtok: 2_000_000_000, createdAtMicroseconds: now)
        event.endpointID = .random()
        event.endpointSlug = "chat"
        event.modelID = .random()
        event.modelName = "a\"b\\\n\u{1}ü🙂"
        event.modelVersion = "v1"
        event.keyID = .random()
        event.userID = "user_1"
        event.serviceTier = "flex"
        event.workerID = "upstream:ep_1"
        event.isXIM = true
        event.inputTokens = 101
        event.outputTokens = 102
        event.cachedTokens = 53
        event.reasoningTokens = 54
        event.multiplierBasisPoints = 7_500
        event.statusCode = 499
        event.errorCode = "client_closed_request"
        event.fault = .client
        event.finishReason = "stop"
        event.isCutByClient = true
        event.timeToFirstTokenMilliseconds = 11
        event.latencyMilliseconds = 12
        event.queueMilliseconds = 13
        event.routerMicroseconds = 14
        event.retries = 2
        event.region = "eu"
        event.charge()
        return event
    }

    private static func committer(_ database: TestDatabase) throws -> Committer {
        let journal = "/tmp/xj\(UInt32.random(in: 0...UInt32.max))"
        AtExit.add { try? FileManager.default.removeItem(atPath: journal) }
        return try Committer(
            database: database.system(), journalDirectory: journal, process: "test-0", statements: UsageEvent.statements, logger: quiet)
    }

    @Test func everyColumnArrives() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let committer = try Self.committer(database)
            let event = Self.event("use_1", of: try database.makeProject("one"))
            try committer.commit(Commit(rows: [event.commitRow]))
            let text: String = try database.connect().query("SELECT to_jsonb(u) AS row FROM usage_events u")[0].get("row")
            var row = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
            #expect((row.removeValue(forKey: "xid") as? String).flatMap { UInt64($0) } != nil)
            #expect((row.removeValue(forKey: "ledger_tx_id") as? String)?.hasPrefix("le_") == true)
            let isSame: Bool = try database.connect().query(
                "SELECT extract(epoch FROM created_at) * 1000000 = \(event.createdAtMicroseconds)::numeric AS same FROM usage_events")[0]
                .get("same")
            #expect(isSame && row.removeValue(forKey: "created_at") != nil)
            let expected: [String: Any] = [
                "id": "use_1", "project_id": event.projectID.description, "endpoint_id": event.endpointID?.description ?? "",
                "endpoint_slug": "chat", "model_id": event.modelID?.description ?? "", "model_name": "a\"b\\\n\u{1}ü🙂",
                "model_version": "v1",
                "api_key_id": event.keyID?.description ?? "", "user_id": "user_1", "request_id": "req_0123456789abcdefghijklmn",
                "surface": "chat", "service_tier": "flex", "tier": "demo", "worker_id": "upstream:ep_1", "is_xim": true, "is_stream": true,
                "input_tokens": 101, "output_tokens": 102, "cached_tokens": 53, "reasoning_tokens": 54, "cost_nano": Int(event.costNano),
                "price_nano_per_mtok": 2_000_000_000, "multiplier_bp": 7_500, "status_code": 499, "error_code": "client_closed_request",
                "fault": "client", "finish_reason": "stop", "cut_by_client": true, "ttft_ms": 11, "latency_ms": 12, "queue_ms": 13,
                "router_us": 14, "retries": 2, "region": "eu",
            ]
            #expect(row as NSDictionary == expected as NSDictionary)
            committer.shutdown()
        }
    }

    @Test func aRowWrittenTwiceIsThereOnce() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let committer = try Self.committer(database)
            let project = try database.makeProject("one")
            var event = Self.event("use_1", of: project)
            try committer.commit(Commit(rows: [event.commitRow]))
            event.outputTokens = 9
            try committer.commit(Commit(rows: [event.commitRow, Self.event("use_2", of: project).commitRow]))
            let rows = try database.connect().query("SELECT id, output_tokens FROM usage_events ORDER BY id")
            #expect(try rows.map { try $0.get("id", as: String.self) } == ["use_1", "use_2"])
            #expect(try rows[0].get("output_tokens") == 102)
            committer.shutdown()
        }
    }

    @Test func absentValuesAreNullAndANULIsReplaced() async throws {
        try await onThread {
            let database = try PostgresServer.makeDatabase()
            let committer = try Self.committer(database)
            var event = UsageEvent(
                id: "use_1", projectID: .random(), requestID: "req_1", surface: .webSearch, tier: "demo", isStream: false,
                priceNanoPerMtok: 0, createdAtMicroseconds: 1)
            event.userID = "a\0\u{301}b\0"
            try committer.commit(Commit(rows: [event.commitRow]))
            let row = try database.connect().query("SELECT * FROM usage_events")[0]
            #expect(try row.get("user_id") == "a\u{FFFD}\u{301}b\u{FFFD}")
            for column in ["endpoint_id", "endpoint_slug", "model_id", "model_name", "error_code", "finish_reason", "region"] {
                #expect(try row.optional(column, as: String.self) == nil, "\(column)")
            }
            #expect(try row.optional("ttft_ms", as: Int.self) == nil)
            committer.shutdown()
        }
    }
}
