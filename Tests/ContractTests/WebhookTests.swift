import Accounts
import Addresses
import Crypto
import Foundation
import HTTPClient
import Jobs
import Logging
import Notifications
import OpenAI
import Postgres
import Redis
import Synchronization
import Tenancy
import Testing

/// Deliveries of webhooks with time running fast: the schedule and its end, and receivers of every kind.
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason), .serialized)
struct WebhookTests {
    static let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

    struct OneKey: DataKeySource {
        let key = DataKey.random(id: "dk_aaaaaaaaaaaaaaaaaaaaaaaa")
        func current(of project: String) throws -> DataKey { key }
        func key(_ id: String, of project: String) throws -> DataKey { key }
    }

    /// A project, with webhooks on servers of the test's.
    final class Bench: Sendable {
        let database: TestDatabase
        let project: ID<Project>
        let redis: RedisServer
        let sealing = Sealing(keys: OneKey())
        let system: SystemDatabase
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

        init() throws {
            database = try PostgresServer.makeDatabase()
            project = try database.makeProject("acme").id
            redis = try RedisServer()
            let bell = JobBell(redis: RedisPool(socket: redis.socket, size: 2), logger: log)
            system = SystemDatabase(url: database.url, size: 8, waitMilliseconds: 30_000, afterCommit: bell.ring)
        }

        @discardableResult
        func webhook(_ url: String, events: [String] = ["*"]) throws -> ID<Webhook> {
            let id = ID<Webhook>.random()
            let sealed = try sealing.seal(
                project: project.description, kind: "webhook-secret", object: id.description, Array(WebhookTests.secret.utf8))
            try database.connect().query(
                """
                INSERT INTO webhooks (id, project_id, url, events, metadata, active, secret, secret_hint)
                VALUES (\(id), \(project), \(url), \(events)::text[], '{}', true, \(sealed), 'hint')
                """)
            return id
        }

        @discardableResult
        func emit(_ type: EventType = .fileUploaded, _ data: String = "{}") throws -> String {
            try system.transaction { try $0.emit(Event(type, json: Array(data.utf8)), of: project) }
        }

        func start(_ outbound: OutboundGuard, threads: Int = 16, timeScale: Double = 0.001) -> JobTests.Running {
            var options = Worker.Options()
            options.threads = threads
            options.lanes = WebhookDeliveries.lanes(ofThreads: threads)
            options.drainSeconds = 5
            options.leaseSeconds = 20
            let deliveries = WebhookDeliveries(
                database: system, sealing: sealing, sender: WebhookSender(outbound, timeScale: timeScale), timeScale: timeScale)
            return JobTests.Running(
                Worker(.webhooks, database: system, redisSocket: redis.socket, handlers: deliveries.handlers, options: options, logger: log)
            )
        }

        func number(_ sql: SQL) throws -> Int { try database.connect().query(sql)[0].get("n") }
        func text(_ sql: SQL) throws -> String? { try database.connect().query(sql)[0].optional("t") }

        /// Waits for so many deliveries with a status.
        func reach(_ status: String, _ count: Int = 1) throws -> Bool {
            try eventually(within: .seconds(60)) {
                try number("SELECT count(*) AS n FROM webhook_deliveries WHERE status = \(status)") >= count
            }
        }
    }

    /// Answers requests by their number, from 1, and keeps them.
    final class Receiver: Sendable {
        let server: RawServer
        private let kept: Kept

        final class Kept: Sendable {
            private let requests = Mutex<[String]>([])
            func add(_ request: String) -> Int {
                requests.withLock { requests in
                    requests.append(request)
                    return requests.count
                }
            }
            var all: [String] { requests.withLock { $0 } }
        }

        init(_ answer: @escaping @Sendable (_ number: Int, RawConnection) -> Void = { _, connection in connection.answer("200 OK", "{}") })
            throws
        {
            let kept = Kept()
            self.kept = kept
            server = try RawServer { connection in
                while let request = connection.readRequest() { answer(kept.add(request), connection) }
            }
        }

        var requests: [String] { kept.all }
        var ids: [String] { requests.compactMap { Self.header("webhook-id", of: $0) } }
        var url: String { server.origin + "/in" }

        static func header(_ name: String, of request: String) -> String? {
            request.components(separatedBy: "\r\n").first { $0.lowercased().hasPrefix(name + ":") }
                .map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) }
        }
    }

    static func open(_ receivers: Receiver...) -> OutboundGuard {
        OutboundGuard(ports: receivers.map(\.server.port), allowRanges: [IPRange("127.0.0.1/32")!])
    }

    // MARK: The schedule

    @Test func theScheduleIsThatOfTheSpecificationWithAFifthOfJitter() {
        let pauses = (1...6).map { DeliverySchedule.pause(after: $0, retryAfter: nil, chance: 0.5) }
        #expect(pauses == [5, 300, 1_800, 7_200, 18_000, nil])
        #expect(DeliverySchedule.pause(after: 2, retryAfter: nil, chance: 0) == 240)
        #expect(DeliverySchedule.pause(after: 2, retryAfter: nil, chance: 1) == 360)
        #expect(DeliverySchedule.pause(after: 1, retryAfter: 90, chance: 0) == 90)
        #expect(DeliverySchedule.pause(after: 1, retryAfter: 1e9, chance: 0) == 18_000)
        #expect(DeliverySchedule.pause(after: 6, retryAfter: 1, chance: 0) == nil)
    }

    @Test func aFailingReceiverGetsSixAttemptsAndThenTheDeliveryIsExhausted() async throws {
        try await onThread {
            let bench = try Bench()
            let receiver = try Receiver { _, connection in connection.answer("500 Broken", "no") }
            try bench.webhook(receiver.url)
            let worker = bench.start(Self.open(receiver))
            defer { worker.stop() }
            let event = try bench.emit()
            #expect(try bench.reach("exhausted"))
            #expect(receiver.ids == Array(repeating: event, count: 6))
            #expect(try bench.number("SELECT jsonb_array_length(attempts) AS n FROM webhook_deliveries") == 6)
            #expect(try bench.text("SELECT attempts->5->>'status_code' AS t FROM webhook_deliveries") == "500")
            #expect(try bench.text("SELECT state AS t FROM jobs") == "done")
        }
    }

    @Test func aServerMayAskForTime() async throws {
        try await onThread {
            let bench = try Bench()
            let receiver = try Receiver { number, connection in
                if number == 1 {
                    connection.answer("503 Busy", headers: "Retry-After: 1000\r\n", "")
                } else {
                    connection.answer("200 OK", "")
                }
            }
            try bench.webhook(receiver.url)
            let worker = bench.start(Self.open(receiver))
            defer { worker.stop() }
            try bench.emit()
            #expect(try bench.reach("succeeded"))
            // A thousand seconds at a thousandth of the time.
            #expect(
                try bench.number("SELECT count(*) AS n FROM webhook_deliveries WHERE delivered_at >= created_at + interval '1 second'") == 1
            )
        }
    }

    @Test func fiveDaysOfFailuresAloneSwitchAWebhookOffAndOwnersAreTold() async throws {
        try await onThread {
            let bench = try Bench()
            let user = try bench.database.system(size: 1).withConnection {
                try $0.setUser(email: "owner@example.test", name: nil, systemRole: nil, by: tester).id
            }
            try bench.database.tenants().withConnection(of: bench.project) { _ = try $0.setMember(user, role: .owner, by: tester) }
            let receiver = try Receiver { _, connection in connection.answer("500 Broken", "") }
            let webhook = try bench.webhook(receiver.url)
            let worker = bench.start(Self.open(receiver), timeScale: 1)
            defer { worker.stop() }
            try bench.emit()
            #expect(try bench.reach("retrying"))
            #expect(try bench.number("SELECT count(*) AS n FROM webhooks WHERE active") == 1)
            try bench.database.connect().execute("UPDATE webhooks SET failing_since = now() - interval '5 days 1 minute'")
            try bench.emit()
            #expect(try bench.reach("retrying", 2))
            #expect(try bench.text("SELECT disabled_reason AS t FROM webhooks WHERE NOT active") == "failing")
            #expect(try bench.text("SELECT recipient AS t FROM mails WHERE body LIKE '%' || \(webhook) || '%'") == "owner@example.test")
            // What was on its way ends.
            try bench.database.connect().execute("UPDATE jobs SET run_at = now()")
            _ = try JobSweep(
                database: bench.system, bell: JobBell(redis: RedisPool(socket: bench.redis.socket, size: 1), logger: bench.log)
            ).run()
            #expect(try bench.reach("exhausted", 2))
        }
    }

    // MARK: Receivers of every kind

    @Test func anEventReachesWhoeverFailsOftenUnderOneIdentifier() async throws {
        try await onThread {
            let bench = try Bench()
            let receiver = try Receiver { number, connection in
                switch number % 10 {
                case 0: connection.answer("500 Broken", "")
                case 3: connection.reset()
                case 6: connection.answer("307 Elsewhere", headers: "Location: /other\r\n", "")
                default: connection.answer("204 Taken", "")
                }
            }
            try bench.webhook(receiver.url)
            let worker = bench.start(Self.open(receiver))
            defer { worker.stop() }
            let events = try (0..<60).map { _ in try bench.emit() }
            #expect(try bench.reach("succeeded", 60))
            #expect(Set(receiver.ids) == Set(events))
            #expect(receiver.ids.count > 60)
            #expect(receiver.requests.allSatisfy { $0.hasPrefix("POST /in ") })
        }
    }

    /// With this a call may last two minutes: who waits for one that hangs is seen, however slow the machine is.
    private static let longCalls = 12.0

    private static func hanging() throws -> Receiver { try Receiver { _, _ in sleep(120) } }

    @Test func aReceiverThatHangsDoesNotKeepAnotherOneWaiting() async throws {
        try await onThread {
            let bench = try Bench()
            let hanging = try Self.hanging()
            let quick = try Receiver()
            try bench.webhook(hanging.url, events: ["batch.failed"])
            try bench.webhook(quick.url, events: ["file.uploaded"])
            let worker = bench.start(Self.open(hanging, quick), threads: 12, timeScale: Self.longCalls)
            defer { worker.stop() }
            for _ in 0..<40 { try bench.emit(.batchFailed) }
            #expect(eventually(within: .seconds(30)) { hanging.requests.count == 2 })
            for _ in 0..<20 { try bench.emit() }
            #expect(eventually(within: .seconds(30)) { quick.requests.count == 20 })
            #expect(hanging.requests.count == 2)
        }
    }

    @Test func manyNewReceiversThatHangLeaveThreadsToThoseThatHaveAnswered() async throws {
        try await onThread {
            let bench = try Bench()
            let hanging = try Self.hanging()
            let quick = try Receiver()
            let known = try bench.webhook(quick.url, events: ["file.uploaded"])
            let worker = bench.start(Self.open(hanging, quick), timeScale: Self.longCalls)
            defer { worker.stop() }
            try bench.emit()
            #expect(try bench.reach("succeeded"))
            for _ in 0..<20 { try bench.webhook(hanging.url, events: ["batch.failed"]) }
            for _ in 0..<8 { try bench.emit(.batchFailed) }
            #expect(eventually(within: .seconds(30)) { hanging.requests.count >= 8 })
            for _ in 0..<40 { try bench.emit() }
            #expect(eventually(within: .seconds(30)) { quick.requests.count == 41 })
            // Half of the sixteen threads, and two for each webhook.
            #expect(hanging.requests.count == 8)
            #expect(
                try bench.number("SELECT count(DISTINCT webhook_id) AS n FROM webhook_deliveries WHERE status = 'delivering'") >= 4)
            // Whoever moves to another server has to show again that it answers.
            try bench.database.connect().query("UPDATE webhooks SET url = \(hanging.url) WHERE id = \(known)")
            #expect(try bench.number("SELECT count(*) AS n FROM job_lanes WHERE lane = \(known)") == 0)
        }
    }

    @Test func aLongAnswerIsCutAndNotRead() async throws {
        try await onThread {
            let bench = try Bench()
            let receiver = try Receiver { _, connection in
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                while connection.send(String(repeating: "x", count: 16_384)) {}
            }
            try bench.webhook(receiver.url)
            let worker = bench.start(Self.open(receiver))
            defer { worker.stop() }
            try bench.emit()
            #expect(try bench.reach("succeeded"))
            #expect(try bench.number("SELECT length(attempts->0->>'response_excerpt') AS n FROM webhook_deliveries") == 1_024)
        }
    }

    @Test func aNameThatLeadsInsideLaterIsRefusedWhenItIsCalled() async throws {
        try await onThread {
            let bench = try Bench()
            let receiver = try Receiver()
            let names = GuardedHTTPClientTests.Names(["flips.example": [["127.0.0.1"], ["169.254.169.254"]]])
            let outbound = OutboundGuard(
                allowHTTP: true, ports: [receiver.server.port], allowRanges: [IPRange("127.0.0.1/32")!], resolve: names.resolve)
            try bench.webhook("http://flips.example:\(receiver.server.port)/in")
            let worker = bench.start(outbound, timeScale: 0.0001)
            defer { worker.stop() }
            try bench.emit()
            #expect(try bench.reach("succeeded"))
            try bench.emit()
            #expect(try bench.reach("exhausted"))
            let error: SQL = "SELECT attempts->0->>'error' AS t FROM webhook_deliveries WHERE status = 'exhausted'"
            #expect(try bench.text(error) == "blocked: The host has an address that is not public.")
            #expect(receiver.requests.count == 1)
        }
    }

    // MARK: With the change, or not at all

    @Test func aDeliveryIsThereIfAndOnlyIfWhatItTellsOfIs() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.webhook("https://hooks.example.com/")
            struct Refused: Error {}
            let tenants = bench.database.tenants()
            #expect(throws: Refused.self) {
                try tenants.transaction(of: bench.project) { connection in
                    try connection.emit(Event(.fileDeleted, json: Array("{}".utf8)))
                    throw Refused()
                }
            }
            #expect(try bench.number("SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM jobs) AS n") == 0)
            try tenants.transaction(of: bench.project) { _ = try $0.emit(Event(.fileDeleted, json: Array("{}".utf8))) }
            #expect(try bench.number("SELECT count(*) AS n FROM webhook_deliveries d JOIN jobs j ON j.payload->>'delivery' = d.id") == 1)
        }
    }

    @Test func whoDiesBetweenTheCallAndItsCommitHasItSentAgain() async throws {
        try await onThread {
            let bench = try Bench()
            let receiver = try Receiver()
            try bench.webhook(receiver.url)
            let event = try bench.emit()
            // As the worker leaves it that was killed after the call.
            try bench.database.connect().execute(
                """
                UPDATE webhook_deliveries SET status = 'delivering';
                UPDATE jobs SET state = 'running', attempt = 1, generation = 1, lease_expires_at = now() - interval '1 second'
                """)
            let worker = bench.start(Self.open(receiver))
            defer { worker.stop() }
            _ = try JobSweep(
                database: bench.system, bell: JobBell(redis: RedisPool(socket: bench.redis.socket, size: 1), logger: bench.log)
            ).run()
            #expect(try bench.reach("succeeded"))
            #expect(receiver.ids == [event])
        }
    }

    /// The example of standardwebhooks.com, and the hexadecimal one by another implementation.
    @Test func signaturesAreThoseThatOthersMake() throws {
        let known = try WebhookSecret(checking: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        #expect(
            known.standardSignature(id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, Array(#"{"test": 2432232314}"#.utf8))
                == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }
}
