import OpenAI
import Postgres
import Tenancy

extension TenantConnection {
    /// Writes a job of the project, in the caller's transaction: it is there if and only if its cause is. Its workers hear of it after the commit.
    /// - Returns: nil where an unfinished job has the same unique key.
    @discardableResult
    public func enqueue(_ job: NewJob) throws -> ID<QueuedJob>? {
        let rows = try query(job.insertion(of: project))
        guard let id: ID<QueuedJob> = try rows.first?.get("id") else { return nil }
        afterCommit(job.note(id))
        return id
    }
}

extension SystemConnection {
    /// Writes a job of a project, or of the platform. Like that of `TenantConnection`.
    @discardableResult
    public func enqueue(_ job: NewJob, of project: ID<Project>?) throws -> ID<QueuedJob>? {
        let rows = try query(job.insertion(of: project))
        guard let id: ID<QueuedJob> = try rows.first?.get("id") else { return nil }
        afterCommit(job.note(id))
        return id
    }
}

extension NewJob {
    fileprivate func note(_ id: ID<QueuedJob>) -> String { JobBell.note(queue, id.description) }

    fileprivate func insertion(of project: ID<Project>?) -> SQL {
        """
        INSERT INTO jobs (id, project_id, queue, kind, lane, priority, unique_key, payload, state, run_at, max_attempts)
        VALUES (\(ID<QueuedJob>.random()), \(project), \(queue.name), \(kind), \(lane ?? project?.description ?? "platform"), \(priority.rawValue),
            \(uniqueKey), \(json: payload)::jsonb, CASE WHEN \(delay)::double precision > 0 THEN 'waiting' ELSE 'ready' END,
            clock_timestamp() + make_interval(secs => \(delay)), \(maxAttempts))
        ON CONFLICT (queue, project_id, unique_key) WHERE unique_key IS NOT NULL AND state IN ('waiting', 'ready', 'running') DO NOTHING
        RETURNING id
        """
    }
}
