import Foundation
import Jobs
import Logging
import OpenAI
import Postgres
import Redis
import Synchronization
import Tenancy
import Testing
import Threads

/// Jobs against Postgres and Redis: what was written is done, its effect is there once, whoever dies or is away.
@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason), .serialized)
struct JobTests {
    static let queue = JobQueue("tests")

    final class Bench: Sendable {
        let database: TestDatabase
        let redis: RedisServer
        let bell: JobBell
        let system: SystemDatabase
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

        init() throws {
            database = try PostgresServer.makeDatabase()
            try database.connect().execute(
                "CREATE TABLE effects (name text, attempt integer); GRANT SELECT, INSERT ON effects TO xerotier_system")
            redis = try RedisServer()
            bell = JobBell(redis: RedisPool(socket: redis.socket, size: 2), logger: log)
            system = SystemDatabase(url: database.url, size: 8, afterCommit: bell.ring)
        }

        func enqueue(_ name: String, _ change: (inout NewJob) -> Void = { _ in }) throws {
            var job = try NewJob(JobTests.queue, "note", name)
            change(&job)
            try system.transaction { _ = try $0.enqueue(job, of: nil) }
        }

        /// Writes a job that nobody is told of.
        func enqueueSilently(_ name: String) throws {
            _ = try SystemDatabase(url: database.url, size: 1).transaction { try $0.enqueue(NewJob(JobTests.queue, "note", name), of: nil) }
        }

        /// A worker that notes each job, after `first`.
        func start(
            _ change: (inout Worker.Options) -> Void = { _ in }, first: @escaping @Sendable (JobRun, String) throws -> Void = { _, _ in }
        ) -> Running {
            var options = Worker.Options()
            options.threads = 4
            options.backoff.first = 0.01
            options.drainSeconds = 1
            // Nothing is found by looking, unless a test asks for it.
            options.pollSeconds = 3_600
            options.lookSeconds = 3_600
            change(&options)
            let handler = JobHandler("note") { run in
                let name: String = try run.job.payload()
                try first(run, name)
                try run.complete { connection in
                    _ = try connection.query("INSERT INTO effects (name, attempt) VALUES (\(name), \(run.job.attempt))")
                }
            }
            return Running(
                Worker(
                    JobTests.queue, database: system, redisSocket: redis.socket, handlers: [handler], options: options, logger: log))
        }

        func effects() throws -> [String] { try database.connect().query("SELECT name FROM effects").map { try $0.get("name") } }
        func number(_ sql: SQL) throws -> Int { try database.connect().query(sql)[0].get("n") }
        func states() throws -> [String] {
            try database.connect().query("SELECT state FROM jobs ORDER BY created_at, id").map { try $0.get("state") }
        }
        func sweep() throws -> JobSweep.Outcome { try JobSweep(database: system, bell: bell).run() }
        func has(_ count: Int, within limit: Duration = .seconds(30)) throws -> Bool {
            try eventually(within: limit) { try effects().count >= count }
        }
        /// Until the worker hears rings; what it looked for at its start is over then.
        func waitUntilHeard() throws {
            try enqueue("first")
            #expect(try has(1))
            usleep(300_000)
        }
    }

    /// A worker and the thread that runs it.
    final class Running: Sendable {
        private let worker: Worker
        private let ended = Monitor(false)

        init(_ worker: Worker) {
            self.worker = worker
            startThread("worker") { [ended] in
                worker.run()
                ended.change { $0 = true }
            }
        }

        func stop() {
            worker.stop()
            ended.wait(while: { !$0 }, then: { _ in })
        }
    }

    final class Names: Sendable {
        private let names = Mutex<[String]>([])
        func add(_ name: String) { names.withLock { $0.append(name) } }
        var all: [String] { names.withLock { $0 } }
    }

    // MARK: Writing

    @Test func aJobIsThereIfAndOnlyIfItsCauseIs() async throws {
        try await onThread {
            let bench = try Bench()
            let project = try bench.database.makeProject("acme")
            let job = try NewJob(Self.queue, "note", "a")
            struct Refused: Error {}
            #expect(throws: Refused.self) {
                try project.tenants.transaction(of: project.id) { connection in
                    try connection.enqueue(job)
                    throw Refused()
                }
            }
            #expect(try bench.states() == [])
            try project.tenants.transaction(of: project.id) { _ = try $0.enqueue(job) }
            #expect(try bench.states() == ["ready"])
            let row = try bench.database.connect().query("SELECT project_id, lane FROM jobs")[0]
            #expect(try row.get("project_id") == project.id.description && row.get("lane") == project.id.description)
        }
    }

    @Test func ofJobsWithOneUniqueKeyOneIsUnfinishedAtATime() async throws {
        try await onThread {
            let bench = try Bench()
            for name in ["a", "b"] { try bench.enqueue(name) { $0.uniqueKey = "one" } }
            try bench.enqueue("c") { $0.uniqueKey = "two" }
            #expect(try bench.states().count == 2)
            let worker = bench.start()
            defer { worker.stop() }
            #expect(try bench.has(2))
            try bench.enqueue("d") { $0.uniqueKey = "one" }
            #expect(try bench.has(3))
            #expect(try Set(bench.effects()) == ["a", "c", "d"])
        }
    }

    // MARK: Doing

    @Test func aRingStartsAJobWithoutLookingForIt() async throws {
        try await onThread {
            let bench = try Bench()
            let worker = bench.start()
            defer { worker.stop() }
            try bench.waitUntilHeard()
            try bench.enqueue("a")
            #expect(try bench.has(2))
            #expect(try bench.states() == ["done", "done"])
        }
    }

    @Test func twoWorkersDoEachJobOnce() async throws {
        try await onThread {
            let bench = try Bench()
            let workers = [bench.start(), bench.start()]
            defer { workers.forEach { $0.stop() } }
            onThreads(4) { thread in for number in 0..<75 { try? bench.enqueue("\(thread)-\(number)") } }
            #expect(try bench.has(300))
            #expect(try Set(bench.effects()).count == 300 && bench.effects().count == 300)
            #expect(try bench.number("SELECT count(DISTINCT worker) AS n FROM jobs") == 2)
        }
    }

    @Test func whoHasLostTheLeaseCommitsNothing() async throws {
        try await onThread {
            let bench = try Bench()
            let (hold, second, outcomes) = (Monitor(true), Monitor(true), Names())
            let late = bench.start { _ in
            } first: { run, _ in
                // The second attempt goes on while the first one comes back.
                guard run.job.attempt == 1 else { return second.wait(while: { $0 }, then: { _ in }) }
                hold.wait(while: { $0 }, then: { _ in })
                do {
                    try run.complete { _ = try $0.query("INSERT INTO effects (name, attempt) VALUES ('late', 1)") }
                    outcomes.add("committed")
                } catch is JobLost { outcomes.add("lost") }
                throw JobLost()
            }
            defer { late.stop() }
            try bench.enqueue("a")
            #expect(try eventually { try bench.states() == ["running"] })
            try bench.database.connect().execute("UPDATE jobs SET lease_expires_at = now() - interval '1 second'")
            #expect(try bench.sweep().reclaimed == 1)
            #expect(try eventually { try bench.number("SELECT attempt AS n FROM jobs") == 2 })
            hold.change { $0 = false }
            #expect(eventually(within: .seconds(30)) { outcomes.all == ["lost"] })
            second.change { $0 = false }
            #expect(try bench.has(1))
            #expect(try bench.effects() == ["a"])
            #expect(try bench.number("SELECT attempt AS n FROM jobs") == 2)
        }
    }

    @Test func aLongJobKeepsItsLease() async throws {
        try await onThread {
            let bench = try Bench()
            let hold = Monitor(true)
            let worker = bench.start {
                $0.leaseSeconds = 2
            } first: { _, _ in
                hold.wait(while: { $0 }, then: { _ in })
            }
            defer { worker.stop() }
            try bench.enqueue("a")
            #expect(try eventually { try bench.states() == ["running"] })
            let lease: SQL = "SELECT (extract(epoch FROM lease_expires_at) * 1000)::bigint AS n FROM jobs"
            let first = try bench.number(lease)
            #expect(try eventually(within: .seconds(30)) { try bench.number(lease) > first })
            #expect(try bench.sweep().reclaimed == 0)
            hold.change { $0 = false }
            #expect(try bench.has(1))
        }
    }

    @Test func whatFailsIsTriedAgainUntilItIsDeadAndThenReplayed() async throws {
        try await onThread {
            let bench = try Bench()
            let isMended = Atomic(false)
            let worker = bench.start { _ in
            } first: { run, _ in
                if !isMended.load(ordering: .relaxed) { throw JobFailure.retry("It is not mended.") }
            }
            defer { worker.stop() }
            try bench.enqueue("a") { $0.maxAttempts = 3 }
            #expect(try eventually(within: .seconds(30)) { try bench.states() == ["dead"] })
            let dead = try bench.system.withConnection { try $0.deadJobs(of: nil, most: 10) }
            #expect(dead.map(\.attempts) == [3] && dead.map(\.reason) == ["It is not mended."])
            let readout = try bench.system.withConnection { try $0.jobQueues() }
            #expect(readout.map(\.dead) == [1] && readout.map(\.queue) == ["tests"])
            isMended.store(true, ordering: .relaxed)
            let replayed = try bench.system.transaction { try $0.replayJobs(dead[0].id, of: nil) }
            #expect(replayed == [dead[0].id])
            #expect(try bench.has(1))
            #expect(try bench.states() == ["done"])
        }
    }

    @Test func whatIsHopelessIsDeadAtOnceWithItsReason() async throws {
        try await onThread {
            let bench = try Bench()
            let worker = bench.start { _ in
            } first: { _, _ in
                throw JobFailure.dead("There is no such file.")
            }
            defer { worker.stop() }
            try bench.enqueue("a")
            #expect(try eventually(within: .seconds(30)) { try bench.states() == ["dead"] })
            #expect(try bench.system.withConnection { try $0.deadJobs(of: "tests", most: 1) }.map(\.reason) == ["There is no such file."])
        }
    }

    @Test func aKindThatNobodyKnowsWaitsForAWorkerThatDoes() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.enqueue("a") { $0.kind = "unheard" }
            let worker = bench.start()
            #expect(
                try eventually(within: .seconds(30)) {
                    try bench.number("SELECT count(*) AS n FROM jobs WHERE last_error LIKE '%unheard%'") == 1
                })
            worker.stop()
            #expect(try !["done", "dead"].contains(bench.states()[0]))
        }
    }

    // MARK: Order

    @Test func lanesTakeTurnsAndPrioritiesGoFirst() async throws {
        try await onThread {
            let bench = try Bench()
            for number in 1...4 { try bench.enqueue("a\(number)") { $0.lane = "a" } }
            for number in 1...2 { try bench.enqueue("b\(number)") { $0.lane = "b" } }
            try bench.enqueue("low") { $0.priority = .low }
            try bench.enqueue("high") { $0.priority = .high }
            let order = Names()
            let worker = bench.start {
                $0.threads = 1
            } first: {
                order.add($1)
            }
            defer { worker.stop() }
            #expect(try bench.has(8))
            #expect(order.all == ["high", "a1", "b1", "a2", "b2", "a3", "a4", "low"])
        }
    }

    @Test func noLaneHasMoreThanItsShareRunning() async throws {
        try await onThread {
            let bench = try Bench()
            for number in 0..<6 { try bench.enqueue("a\(number)") { $0.lane = "a" } }
            for number in 0..<3 { try bench.enqueue("b\(number)") { $0.lane = "b" } }
            try bench.database.connect().execute("INSERT INTO job_lanes (queue, lane, most_running) VALUES ('tests', 'b', 1)")
            struct Seen { var (running, most): ([Character: Int], [Character: Int]) = ([:], [:]) }
            let seen = Lock(Seen())
            let workers = (0..<2).map { _ in
                bench.start {
                    ($0.threads, $0.lanes) = (8, .init(most: 2, together: 8))
                } first: { _, name in
                    seen.withLock { seen in
                        seen.running[name.first!, default: 0] += 1
                        seen.most[name.first!] = max(seen.most[name.first!, default: 0], seen.running[name.first!, default: 0])
                    }
                    usleep(50_000)
                    // Its place is free only after the commit, so this is at most too early.
                    seen.withLock { $0.running[name.first!, default: 0] -= 1 }
                }
            }
            defer { workers.forEach { $0.stop() } }
            // Places that the other worker frees are found with the sweeper's rings.
            #expect(
                try eventually(within: .seconds(30)) {
                    _ = try bench.sweep()
                    return try bench.effects().count == 9
                })
            #expect(seen.withLock { $0.most } == ["a": 2, "b": 1])
        }
    }

    @Test func aJobWaitsForItsTime() async throws {
        try await onThread {
            let bench = try Bench()
            let worker = bench.start()
            defer { worker.stop() }
            try bench.waitUntilHeard()
            try bench.enqueue("later") { $0.delay = 1 }
            #expect(try bench.states().last == "waiting")
            #expect(try bench.has(2))
            #expect(
                try bench.number("SELECT count(*) AS n FROM jobs WHERE ended_at >= run_at AND run_at >= created_at + interval '0.9 s'") == 1
            )
        }
    }

    @Test func aScheduleWritesOneJobForEachTimeHoweverManySweep() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.system.withConnection { try $0.schedule("hourly", every: 3_600, Self.queue, "note") }
            onThreads(4) { _ in _ = try? bench.sweep() }
            #expect(try bench.states() == ["ready"])
            // The one before is not done yet.
            try bench.database.connect().execute("UPDATE job_schedules SET next_run_at = now() - interval '3 hours'")
            _ = try bench.sweep()
            #expect(try bench.states() == ["ready"])
            try bench.database.connect().execute("UPDATE jobs SET state = 'done', ended_at = now()")
            try bench.database.connect().execute("UPDATE job_schedules SET next_run_at = now() - interval '3 hours'")
            _ = try bench.sweep()
            _ = try bench.sweep()
            #expect(try bench.states() == ["done", "ready"])
        }
    }

    // MARK: Faults

    @Test func aLostRingIsRungAgain() async throws {
        try await onThread {
            let bench = try Bench()
            let worker = bench.start()
            defer { worker.stop() }
            try bench.waitUntilHeard()
            try bench.enqueueSilently("a")
            usleep(500_000)
            #expect(try bench.effects() == ["first"])
            #expect(try bench.sweep().rung == 1)
            #expect(try bench.has(2))
        }
    }

    @Test func anEmptiedRedisLosesNoJob() async throws {
        try await onThread {
            let bench = try Bench()
            let worker = bench.start()
            defer { worker.stop() }
            try bench.waitUntilHeard()
            let redis = try RedisConnection(socket: bench.redis.socket, connectTimeout: .seconds(1), commandTimeout: .seconds(5))
            for number in 0..<20 {
                try bench.enqueue("\(number)")
                _ = try redis.command(["FLUSHALL"])
            }
            #expect(try bench.has(21))
        }
    }

    @Test func withoutRedisJobsAreLookedForAndAfterItHeardAgain() async throws {
        try await onThread {
            let bench = try Bench()
            let worker = bench.start { $0.pollSeconds = 0.2 }
            defer { worker.stop() }
            try bench.waitUntilHeard()
            bench.redis.stop()
            for number in 0..<5 { try bench.enqueue("away \(number)") }
            #expect(try bench.has(6))
            try bench.redis.start()
            for number in 0..<5 { try bench.enqueue("back \(number)") }
            #expect(try bench.has(11))
        }
    }

    @Test func aWorkerThatIsToldToStopFinishesWhatRunsAndGivesBackWhatDoesNotEnd() async throws {
        try await onThread {
            let bench = try Bench()
            let hold = Monitor(true)
            let worker = bench.start {
                $0.threads = 2
                $0.drainSeconds = 5
            } first: { run, name in
                if name == "short" { while !run.shouldStop { usleep(1_000) } } else { hold.wait(while: { $0 }, then: { _ in }) }
            }
            try bench.enqueue("short")
            try bench.enqueue("long")
            #expect(try eventually { try bench.states() == ["running", "running"] })
            worker.stop()
            #expect(try bench.effects() == ["short"])
            #expect(try bench.number("SELECT count(*) AS n FROM jobs WHERE state = 'ready' AND attempt = 0") == 1)
            // What did not end in time can end no more.
            hold.change { $0 = false }
            usleep(200_000)
            #expect(try bench.effects() == ["short"])
            let next = bench.start()
            defer { next.stop() }
            #expect(try bench.has(2))
        }
    }

    @Test func whatKillsItsWorkerAgainAndAgainIsDead() async throws {
        try await onThread {
            let bench = try Bench()
            try bench.enqueue("a") { $0.maxAttempts = 2 }
            for _ in 0..<2 {
                try bench.database.connect().execute(
                    """
                    UPDATE jobs SET state = 'running', attempt = attempt + 1, generation = generation + 1,
                        lease_expires_at = now() - interval '1 second'
                    """)
                _ = try bench.sweep()
            }
            #expect(try bench.states() == ["dead"])
        }
    }

    @Test func whatIsDoneIsForgottenAfterAWhile() async throws {
        try await onThread {
            let bench = try Bench()
            let worker = bench.start()
            try bench.waitUntilHeard()
            worker.stop()
            #expect(try bench.sweep().forgotten == 0)
            try bench.database.connect().execute("UPDATE jobs SET ended_at = now() - interval '2 hours'")
            #expect(try bench.sweep().forgotten == 1)
            #expect(try bench.states() == [])
        }
    }

    @Test func theBackoffDoublesWithinItsBoundsAndAFifth() {
        let backoff = JobBackoff()
        #expect(backoff.seconds(after: 1, chance: 0.5) == 1)
        #expect(backoff.seconds(after: 4, chance: 0.5) == 8)
        #expect(backoff.seconds(after: 60, chance: 0.5) == 600)
        #expect(abs(backoff.seconds(after: 1, chance: 0) - 0.8) < 1e-9 && abs(backoff.seconds(after: 1, chance: 1) - 1.2) < 1e-9)
    }
}
