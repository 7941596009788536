import OpenAI
import Postgres
import Tenancy

/// How a queue stands.
public struct JobQueueReadout: Sendable, Encodable, Equatable {
    public var queue: String
    /// Their time has not come.
    public var waiting: Int
    public var ready: Int
    public var running: Int
    public var dead: Int
    /// Of those that could run and do not; seconds.
    public var oldestReadySeconds: Double

    public init(queue: String, waiting: Int = 0, ready: Int = 0, running: Int = 0, dead: Int = 0, oldestReadySeconds: Double = 0) {
        self.queue = queue
        self.waiting = waiting
        self.ready = ready
        self.running = running
        self.dead = dead
        self.oldestReadySeconds = oldestReadySeconds
    }

    private enum CodingKeys: String, CodingKey {
        case queue, waiting, ready, running, dead
        case oldestReadySeconds = "oldest_ready_seconds"
    }
}

/// A job that nobody will try again by itself.
public struct DeadJob: Sendable, Encodable {
    public var id: ID<QueuedJob>
    public var queue: String
    public var kind: String
    public var projectID: String?
    public var attempts: Int
    public var reason: String
    /// Unix seconds.
    public var createdAt: Int
    public var diedAt: Int

    private enum CodingKeys: String, CodingKey {
        case id, queue, kind, attempts, reason
        case projectID = "project_id"
        case createdAt = "created_at"
        case diedAt = "died_at"
    }
}

/// What the operator sees of jobs, and does with dead ones.
extension SystemConnection {
    public func jobQueues() throws -> [JobQueueReadout] {
        try query(
            """
            SELECT queue, count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'ready') AS ready,
                count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'dead') AS dead,
                coalesce(extract(epoch FROM clock_timestamp() - min(run_at) FILTER (WHERE state = 'ready')), 0)::double precision AS oldest
            FROM jobs WHERE state <> 'done' GROUP BY queue ORDER BY queue
            """
        ).map { row in
            JobQueueReadout(
                queue: try row.get("queue"), waiting: try row.get("waiting"), ready: try row.get("ready"), running: try row.get("running"),
                dead: try row.get("dead"), oldestReadySeconds: try row.get("oldest"))
        }
    }

    /// The newest first.
    public func deadJobs(of queue: String?, most: Int) throws -> [DeadJob] {
        try query(
            """
            SELECT id, queue, kind, project_id, attempt, coalesce(last_error, '') AS reason, extract(epoch FROM created_at)::bigint AS created_at,
                extract(epoch FROM ended_at)::bigint AS died_at
            FROM jobs WHERE state = 'dead' AND (\(queue)::text IS NULL OR queue = \(queue)) ORDER BY ended_at DESC, id LIMIT \(most)
            """
        ).map { row in
            DeadJob(
                id: try row.get("id"), queue: try row.get("queue"), kind: try row.get("kind"), projectID: try row.optional("project_id"),
                attempts: try row.get("attempt"), reason: try row.get("reason"), createdAt: try row.get("created_at"),
                diedAt: try row.get("died_at"))
        }
    }

    /// Gives dead jobs all their attempts again, by identifier or a whole queue's. One whose unique key another job has by now stays dead.
    /// - Returns: those that are ready now.
    public func replayJobs(_ id: ID<QueuedJob>?, of queue: String?) throws -> [ID<QueuedJob>] {
        let rows = try query(
            """
            UPDATE jobs d SET state = 'ready', attempt = 0, run_at = clock_timestamp(), ended_at = NULL
            WHERE d.state = 'dead' AND (\(id)::text IS NULL OR d.id = \(id)) AND (\(queue)::text IS NULL OR d.queue = \(queue))
                AND NOT EXISTS (SELECT FROM jobs o WHERE o.queue = d.queue AND o.project_id IS NOT DISTINCT FROM d.project_id
                    AND o.unique_key = d.unique_key AND o.id <> d.id AND (o.state IN ('waiting', 'ready', 'running') OR o.state = 'dead' AND o.id > d.id))
            RETURNING id, queue
            """)
        return try rows.map { row in
            let id: ID<QueuedJob> = try row.get("id")
            afterCommit(JobBell.note(JobQueue(try row.get("queue")), id.description))
            return id
        }
    }
}
