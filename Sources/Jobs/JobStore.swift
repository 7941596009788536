import OpenAI
import Postgres
import Tenancy

/// What workers do with rows of `jobs`. All of it goes by the generation, so that nobody touches a job that is somebody else's by now.
extension SystemConnection {
    /// Takes up to `most` jobs, each lane's in turn after `lane`.
    func claimJobs(
        of queue: JobQueue, after lane: String, most: Int, lanes: Worker.LaneLimits?, worker: String, lease: Double
    ) throws -> [Job] {
        try query(
            """
            SELECT id, project_id, kind, lane, payload, attempt, max_attempts, generation,
                greatest(0, extract(epoch FROM clock_timestamp() - run_at))::double precision AS waited
            FROM job_claim(\(queue.name), \(lane), \(most), \(lanes?.most), \(lanes?.together), \(worker), \(lease))
            """
        ).map { row in
            Job(
                id: try row.get("id"), project: try row.optional("project_id"), queue: queue, kind: try row.get("kind"),
                lane: try row.get("lane"), payload: try row.get("payload"), attempt: try row.get("attempt"),
                maxAttempts: try row.get("max_attempts"), generation: try row.get("generation"), waited: try row.get("waited"))
        }
    }

    /// Seconds until the next job of the queue that waits for its time; nil = none does.
    func secondsToNextJob(of queue: JobQueue) throws -> Double? {
        try query(
            """
            SELECT extract(epoch FROM min(run_at) - clock_timestamp())::double precision AS seconds FROM jobs
            WHERE queue = \(queue.name) AND state = 'waiting'
            """)[0].optional("seconds")
    }

    /// Ends a job, in the transaction of its effect.
    /// - Throws: `JobLost`, so that the effect is rolled back.
    func finish(_ job: Job) throws {
        let rows = try query(
            """
            UPDATE jobs SET state = 'done', ended_at = now(), lease_expires_at = NULL, last_error = NULL
            WHERE id = \(job.id) AND generation = \(job.generation) AND state = 'running' RETURNING 1
            """)
        guard !rows.isEmpty else { throw JobLost() }
    }

    /// Lets a job wait, in the transaction of what its attempt came to.
    /// - Throws: `JobLost`
    func putOff(_ job: Job, for seconds: Double, _ reason: String) throws {
        let rows = try query(
            """
            UPDATE jobs SET state = 'waiting', lease_expires_at = NULL, run_at = clock_timestamp() + make_interval(secs => \(seconds)),
                last_error = \(String(reason.prefix(500)))
            WHERE id = \(job.id) AND generation = \(job.generation) AND state = 'running' RETURNING 1
            """)
        guard !rows.isEmpty else { throw JobLost() }
    }

    /// - Parameter seconds: until the next attempt; nil = there is none.
    func fail(_ job: Job, retryAfter seconds: Double?, _ reason: String) throws {
        try query(
            """
            UPDATE jobs SET state = CASE WHEN \(seconds)::double precision IS NULL THEN 'dead' ELSE 'waiting' END, lease_expires_at = NULL,
                run_at = clock_timestamp() + make_interval(secs => coalesce(\(seconds)::double precision, 0)), last_error = \(String(reason.prefix(500))),
                ended_at = CASE WHEN \(seconds)::double precision IS NULL THEN now() END
            WHERE id = \(job.id) AND generation = \(job.generation) AND state = 'running'
            """)
    }

    /// Renews leases.
    /// - Returns: the jobs that are still the worker's.
    func renew(_ jobs: [Job], lease: Double) throws -> Set<String> {
        let rows = try query(
            """
            UPDATE jobs j SET lease_expires_at = clock_timestamp() + make_interval(secs => \(lease))
            FROM unnest(\(jobs.map(\.id.description))::text[], \(jobs.map { String($0.generation) })::text[]::bigint[]) m (id, generation)
            WHERE j.id = m.id AND j.generation = m.generation AND j.state = 'running' RETURNING j.id
            """)
        return Set(try rows.map { try $0.get("id") })
    }

    /// Gives jobs back as if they had not been claimed; their present attempts can finish nothing any more.
    func handBack(_ jobs: [Job]) throws {
        try query(
            """
            UPDATE jobs j SET state = 'ready', lease_expires_at = NULL, attempt = j.attempt - 1
            FROM unnest(\(jobs.map(\.id.description))::text[], \(jobs.map { String($0.generation) })::text[]::bigint[]) m (id, generation)
            WHERE j.id = m.id AND j.generation = m.generation AND j.state = 'running'
            """)
    }
}
