import Accounts
import Crypto
import Foundation
import Jobs
import Logging
import OpenAI
import Postgres
import Server
import Tenancy
import Testing

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct IdempotencyTests {
    /// A database with a project, and one key of it.
    struct Bench {
        let database: TestDatabase
        let project: TestProject
        let key: IdempotencyKey

        init() throws {
            database = try PostgresServer.makeDatabase()
            project = try database.makeProject("acme")
            key = try IdempotencyTests.key("k", of: project.id)
        }

        func claim(_ request: String, _ other: IdempotencyKey? = nil, lease: Double = 60, kept: Double = 86_400) throws -> IdempotencyState
        {
            try project.withConnection { try $0.claim(other ?? key, for: request, lease: lease, kept: kept) }
        }

        func complete(_ request: String, status: Int = 200, _ answer: String = "answer") throws {
            try project.withConnection { _ = try $0.query(key.complete(request, status: status, Array(answer.utf8))) }
        }

        func rows() throws -> Int { try database.connect().query("SELECT count(*) AS n FROM idempotency_keys")[0].get("n") }
    }

    static func key(_ text: String, body: String = "{}", of project: ID<Project>) throws -> IdempotencyKey {
        let id = try #require(ID<APIKey>("key_" + String(repeating: "a", count: 24)))
        let principal = Principal(projectID: project, projectSlug: "p", keyID: id, scopes: [.inference])
        return try IdempotencyKey(text, method: "POST", path: "/v1/x", body: Array(body.utf8), of: principal)
    }

    static func answered(_ answer: String = "answer", status: Int = 200, by request: String) -> IdempotencyState {
        .answered(status: status, sealed: Array(answer.utf8), request: request)
    }

    @Test func aKeyIsTakenOnceAndAnswersOnceItIsCompleted() async throws {
        try await onThread {
            let bench = try Bench()
            #expect(try bench.claim("req_1") == .claimed)
            #expect(try bench.claim("req_2") == .running)
            try bench.complete("req_1", status: 201)
            #expect(try bench.claim("req_3") == Self.answered(status: 201, by: "req_1"))
            #expect(try bench.claim("req_4", Self.key("k", body: "[]", of: bench.project.id)) == .conflict)
            #expect(try bench.claim("req_5", Self.key("other", of: bench.project.id)) == .claimed)
        }
    }

    @Test func ofManyAtOnceOneTakesTheKey() async throws {
        try await onThread {
            let bench = try Bench()
            let states = NSLock()
            nonisolated(unsafe) var found: [IdempotencyState] = []
            onThreads(16) { number in
                let state = try? bench.claim("req_\(number)")
                states.withLock { if let state { found.append(state) } }
            }
            #expect(found.count == 16 && found.filter { $0 == .claimed }.count == 1)
            #expect(found.filter { $0 == .running }.count == 15)
        }
    }

    @Test func theSameKeyOfAnotherProjectIsAnotherKey() async throws {
        try await onThread {
            let bench = try Bench()
            let other = try bench.database.makeProject("zeta")
            #expect(try bench.claim("req_1") == .claimed)
            #expect(try other.withConnection { try $0.claim(Self.key("k", of: other.id), for: "req_2", lease: 60, kept: 60) } == .claimed)
            try bench.complete("req_1")
            // Nor can one project complete, give back or even see what is another's.
            try other.withConnection { connection in
                #expect(throws: PostgresError.self) { try connection.query(bench.key.complete("req_1", status: 200, [])) }
                try connection.release(bench.key, of: "req_1")
                #expect(try connection.query("SELECT 1 FROM idempotency_keys").count == 1)
            }
            #expect(try bench.claim("req_3") == Self.answered(by: "req_1"))
        }
    }

    @Test func aKeyThatIsGivenBackCanBeTakenAndAnAnswerCannotBeGivenBack() async throws {
        try await onThread {
            let bench = try Bench()
            #expect(try bench.claim("req_1") == .claimed)
            try bench.project.withConnection { try $0.release(bench.key, of: "req_2") }
            #expect(try bench.claim("req_2") == .running)
            try bench.project.withConnection { try $0.release(bench.key, of: "req_1") }
            #expect(try bench.claim("req_3") == .claimed)
            try bench.complete("req_3")
            try bench.project.withConnection { try $0.release(bench.key, of: "req_3") }
            #expect(try bench.claim("req_4") == Self.answered(by: "req_3"))
        }
    }

    @Test func theKeyOfADeadRequestIsTakenOverAndTheDeadOneCanDoNothingMore() async throws {
        try await onThread {
            let bench = try Bench()
            #expect(try bench.claim("req_1", lease: -1) == .claimed)
            #expect(try bench.claim("req_2", Self.key("k", body: "[]", of: bench.project.id)) == .conflict)
            #expect(try bench.claim("req_2") == .claimed)
            // What the first one does after that is undone with its completion.
            let error = #expect(throws: PostgresError.self) {
                try bench.project.withConnection { connection in
                    try connection.transaction {
                        _ = try connection.createKey(NewKey(name: "k", scopes: [.inference]), by: tester)
                    } last: {
                        [bench.key.complete("req_1", status: 200, [])]
                    }
                }
            }
            #expect(error?.sqlState == IdempotencyKey.lost)
            #expect(try bench.database.connect().query("SELECT 1 FROM api_keys").isEmpty)
            #expect(try bench.database.connect().query("SELECT 1 FROM audit_log WHERE action = 'key.create'").isEmpty)
            #expect(
                try bench.project.withConnection { try !$0.prepare(bench.key, of: "req_1", [1]) && $0.prepare(bench.key, of: "req_2", [2]) }
            )
            #expect(try bench.claim("req_3") == .running)
        }
    }

    @Test func aLeaseThatIsRenewedIsNotLost() async throws {
        try await onThread {
            let bench = try Bench()
            let system = bench.database.system()
            #expect(try bench.claim("req_1", lease: -1) == .claimed)
            try system.withConnection {
                try $0.renew([(bench.key, "req_1"), (Self.key("none", of: bench.project.id), "req_9")], lease: 60)
            }
            #expect(try bench.claim("req_2") == .running)
            // Not what another one holds, and not while somebody has the row.
            try system.withConnection { try $0.renew([(bench.key, "req_2")], lease: -1) }
            #expect(try bench.claim("req_2") == .running)
            let holder = try bench.database.connect()
            try holder.transaction {
                try holder.query("SELECT 1 FROM idempotency_keys FOR UPDATE")
                try system.withConnection { try $0.renew([(bench.key, "req_1")], lease: -1) }
            }
            #expect(try bench.claim("req_2") == .running)
        }
    }

    @Test func oldKeysAreForgottenInBatchesAndRunningOnesAreNot() async throws {
        try await onThread {
            let bench = try Bench()
            let system = bench.database.system()
            for number in 0..<5 { #expect(try bench.claim("req_\(number)", Self.key("k\(number)", of: bench.project.id)) == .claimed) }
            try bench.database.connect().execute(
                """
                UPDATE idempotency_keys SET created_at = now() - interval '25 hours';
                UPDATE idempotency_keys SET status = 200, answer = '\\x' WHERE request_id <> 'req_4';
                UPDATE idempotency_keys SET created_at = now() - interval '23 hours' WHERE request_id = 'req_3'
                """)
            // A day is over also where nobody has cleaned.
            #expect(try bench.claim("req_5", Self.key("k0", body: "[]", of: bench.project.id)) == .claimed)
            func forget() throws -> Int { try system.withConnection { try $0.forgetIdempotencyKeys(olderThan: 86_400, most: 1) } }
            #expect(try [forget(), forget(), forget()] == [1, 1, 0])
            #expect(try bench.rows() == 3)
            #expect(try bench.claim("req_6", Self.key("k4", of: bench.project.id)) == .running)
        }
    }

    @Test func theCommitterCompletesAKeyOnceAndALostOneHurtsNobody() async throws {
        try await onThread {
            let bench = try Bench()
            let journal = "/tmp/xj\(UInt32.random(in: 0...UInt32.max))"
            AtExit.add { try? FileManager.default.removeItem(atPath: journal) }
            let committer = try Committer(
                database: bench.database.system(), journalDirectory: journal, process: "test-0", statements: Idempotency.statements,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            defer { committer.shutdown() }
            func commit(_ request: String, _ answer: String?) throws {
                let base64 = answer.map { "\"\(Data($0.utf8).base64EncodedString())\"" } ?? "null"
                let json =
                    #"{"project_id":"\#(bench.project.id)","scope":"\#(bench.key.scope)","request_id":"\#(request)","status":200,"answer":\#(base64)}"#
                try committer.commit(Commit(rows: [CommitRow(statement: Idempotency.statements[0], json: Array(json.utf8))]))
            }
            #expect(try bench.claim("req_1") == .claimed)
            try commit("req_0", "foreign")
            #expect(try bench.claim("req_2") == .running)
            // A large answer that is not there completes nothing.
            try commit("req_1", nil)
            #expect(try bench.claim("req_2") == .running)
            #expect(try bench.project.withConnection { try $0.prepare(bench.key, of: "req_1", Array("large".utf8)) })
            #expect(try bench.claim("req_2") == .running)
            try commit("req_1", nil)
            #expect(try bench.claim("req_2") == Self.answered("large", by: "req_1"))
            try commit("req_1", "again")
            #expect(try bench.claim("req_2") == Self.answered("large", by: "req_1"))
        }
    }
}
