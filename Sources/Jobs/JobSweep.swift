import OpenAI
import Postgres
import Tenancy

/// What keeps queues moving when somebody died: rings again, takes back, starts what is scheduled, and forgets what is old. Several may run at once.
public struct JobSweep: Sendable {
    public struct Options: Sendable {
        /// How long a job that is done can be looked at, in seconds.
        public var doneKept = 3_600.0
        /// Dead ones, and events with what was delivered of them.
        public var deadKept = 30 * 86_400.0
        public init() {}
    }

    public struct Outcome: Sendable, Equatable {
        public var rung = 0
        public var reclaimed = 0
        public var buried = 0
        public var scheduled = 0
        public var forgotten = 0
    }

    private let database: SystemDatabase
    private let bell: JobBell
    private let options: Options

    private static let most = 1_000

    public init(database: SystemDatabase, bell: JobBell, options: Options = Options()) {
        self.database = database
        self.bell = bell
        self.options = options
    }

    public func run() throws -> Outcome {
        var outcome = Outcome()
        try reclaim(&outcome)
        outcome.scheduled = try schedule()
        outcome.rung = try ringAgain()
        outcome.forgotten = try forget()
        return outcome
    }

    /// Jobs whose worker has gone silent are there for others; one that has had all its attempts is dead: it may be what kills workers.
    private func reclaim(_ outcome: inout Outcome) throws {
        let lost = try inBatches(of: Self.most) { most in
            let rows = try database.withConnection { connection in
                try connection.query(
                    """
                    UPDATE jobs SET state = CASE WHEN attempt >= max_attempts THEN 'dead' ELSE 'ready' END, lease_expires_at = NULL,
                        ended_at = CASE WHEN attempt >= max_attempts THEN now() END, last_error = 'Its worker was lost: the lease has ended.'
                    WHERE id IN (
                        SELECT id FROM jobs WHERE state = 'running' AND lease_expires_at < clock_timestamp() LIMIT \(most) FOR UPDATE SKIP LOCKED)
                    RETURNING state = 'dead' AS is_dead
                    """)
            }
            outcome.buried += try rows.filter { try $0.get("is_dead") }.count
            return rows.count
        }
        outcome.reclaimed = lost - outcome.buried
    }

    /// What is ready waits for a ring that may be lost. As many as there are jobs, so that all workers wake.
    private func ringAgain() throws -> Int {
        let queues = try database.withConnection { connection in
            try connection.query(
                """
                SELECT q.queue, (SELECT count(*) FROM (
                    SELECT 1 FROM jobs j WHERE j.queue = q.queue AND j.state = 'ready' LIMIT \(JobBell.mostRings)) few)
                    + (SELECT count(*) FROM (SELECT 1 FROM jobs j WHERE j.queue = q.queue AND j.state = 'waiting' AND j.run_at <= now() LIMIT 1) due)
                    AS due
                FROM (SELECT DISTINCT queue FROM jobs WHERE state IN ('ready', 'waiting')) q
                """
            ).map { (queue: try $0.get("queue", as: String.self), due: try $0.get("due", as: Int.self)) }
        }
        let notes = queues.flatMap { queue in Array(repeating: JobBell.note(JobQueue(queue.queue), "again"), count: queue.due) }
        bell.ring(notes)
        return notes.count
    }

    /// Writes the jobs of schedules that are due: each once, however many sweep. One that was missed is not made up for.
    private func schedule() throws -> Int {
        try database.transaction { connection in
            let rows = try connection.query(
                """
                UPDATE job_schedules SET next_run_at = make_interval(secs => every_seconds)
                    + CASE WHEN next_run_at + make_interval(secs => every_seconds) > now() THEN next_run_at ELSE now() END
                WHERE name IN (SELECT name FROM job_schedules WHERE next_run_at <= now() FOR UPDATE SKIP LOCKED)
                RETURNING name, queue, kind
                """)
            for row in rows {
                var job = NewJob(JobQueue(try row.get("queue")), try row.get("kind"))
                job.uniqueKey = "schedule:\(try row.get("name", as: String.self))"
                try connection.enqueue(job, of: nil)
            }
            return rows.count
        }
    }

    private func forget() throws -> Int {
        let jobs = try inBatches(of: Self.most) { most in
            try database.withConnection { connection in
                try connection.query(
                    """
                    DELETE FROM jobs WHERE id IN (
                        SELECT id FROM jobs WHERE state IN ('done', 'dead') AND ended_at < now() - make_interval(secs => CASE state
                            WHEN 'done' THEN \(options.doneKept)::double precision ELSE \(options.deadKept)::double precision END) LIMIT \(most) FOR UPDATE SKIP LOCKED)
                    RETURNING 1
                    """
                ).count
            }
        }
        let events = try inBatches(of: Self.most) { most in
            try database.withConnection { connection in
                try connection.query(
                    """
                    DELETE FROM outbox WHERE id IN (
                        SELECT id FROM outbox WHERE created_at < now() - make_interval(secs => \(options.deadKept)) LIMIT \(most)
                        FOR UPDATE SKIP LOCKED)
                    RETURNING 1
                    """
                ).count
            }
        }
        return jobs + events
    }
}

extension SystemConnection {
    /// Makes a job come every so many seconds, from the next sweep on; the sweeper writes it. A name that is there is changed.
    public func schedule(_ name: String, every seconds: Double, _ queue: JobQueue, _ kind: String) throws {
        try query(
            """
            INSERT INTO job_schedules (name, queue, kind, every_seconds) VALUES (\(name), \(queue.name), \(kind), \(seconds))
            ON CONFLICT (name) DO UPDATE SET queue = excluded.queue, kind = excluded.kind, every_seconds = excluded.every_seconds,
                next_run_at = least(job_schedules.next_run_at, now() + make_interval(secs => excluded.every_seconds))
            """)
    }
}
