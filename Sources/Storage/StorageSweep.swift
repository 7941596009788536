import Jobs
import Logging
import ObjectStore
import OpenAI
import Postgres
import Tenancy

/// What the sweeper does for storage (03 §7, 08 §4). Rows go first and bytes after, so that nothing visible is ever without its bytes. All of it may
/// stop anywhere and run several times over.
public struct StorageSweep: Sendable {
    private let database: SystemDatabase
    private let store: any ObjectStore
    private let timeScale: Double
    private let logger: Logger

    /// Rows in one transaction.
    static let batch = 1_000
    /// Each of them is an event.
    static let filesInBatch = 100
    /// How long an object may be written without a sign of life, in seconds.
    static let writing = 600.0
    /// How old bytes without a row must be, in seconds: somebody may be about to write the row.
    static let orphan = 86_400.0
    /// How long the row of a deleted file stays, in seconds, for lists that go on behind it.
    static let memory = 30 * 86_400.0
    /// How long large answers stay, in seconds: an hour longer than idempotency keys, which last a day.
    static let answers = 90_000.0
    /// The difference between a counter and its objects that is not worth a line.
    static let tolerance = 1 << 20
    /// How long one sweep deletes bytes: what else the sweeper does waits for it.
    static let patience = Duration.seconds(10)

    public init(database: SystemDatabase, store: any ObjectStore, timeScale: Double, logger: Logger) {
        self.database = database
        self.store = store
        self.timeScale = timeScale
        self.logger = logger
    }

    /// Each minute.
    public func sweep() throws {
        let expired = try inBatches(of: Self.filesInBatch) { most in try database.transaction { try $0.expireFiles(most: most) } }
        try inBatches(of: Self.batch) { most in
            try database.withConnection { try $0.expireAnswers(after: Self.answers * timeScale, most: most) }
        }
        let abandoned = try inBatches(of: Self.batch) { most in
            try database.withConnection { try $0.giveUpObjects(silentFor: Self.writing * timeScale, most: most) }
        }
        try inBatches(of: Self.batch) { most in
            try database.withConnection { try $0.forgetFiles(after: Self.memory * timeScale, most: most) }
        }
        let removed = try removeDeleted()
        if expired + abandoned + removed > 0 {
            logger.notice(
                "storage is swept",
                metadata: ["expired_files": "\(expired)", "abandoned_objects": "\(abandoned)", "removed_objects": "\(removed)"])
        }
    }

    /// Each night: bytes without a row go, and counters that are wrong are set right.
    public func reconcile() throws {
        let orphans = try removeOrphans()
        let corrected = try database.transaction { try $0.correctStorageUsage(tolerance: Self.tolerance) }
        for (project, difference) in corrected {
            logger.error("a storage counter was wrong", metadata: ["project": "\(project)", "bytes": "\(difference)"])
        }
        if orphans > 0 { logger.notice("bytes without a row are removed", metadata: ["objects": "\(orphans)"]) }
    }

    /// No connection is held while the store is asked. What is left over waits for the next sweep.
    private func removeDeleted() throws -> Int {
        let end = ContinuousClock.now + Self.patience
        var removed = 0
        while true {
            let objects = try database.withConnection { try $0.deletedObjects(most: Self.batch) }
            for object in objects {
                guard ContinuousClock.now < end else { return removed }
                for part in 0..<object.parts { try store.delete(ObjectPlace.part(part, of: object.key)) }
                try database.withConnection { try $0.forgetObject(object.key) }
                removed += 1
            }
            if objects.count < Self.batch { return removed }
        }
    }

    /// Keys of projects that this database does not know belong to another one that shares the bucket, and stay.
    private func removeOrphans() throws -> Int {
        var removed = 0
        var last: String?
        while true {
            let page = try store.list(prefix: ID<Project>.prefix, after: last, limit: Self.batch)
            guard let end = page.objects.last else { return removed }
            let before = try database.withConnection { try $0.unixNow() } - Int(Self.orphan * timeScale)
            let old = page.objects.filter { $0.modifiedAt < before }.map(\.key)
            for key in try database.withConnection({ try $0.orphans(among: old) }) {
                try store.delete(key)
                removed += 1
            }
            if !page.hasMore { return removed }
            last = end.key
        }
    }
}

extension ID where Kind == Project {
    /// What all their keys in the store begin with.
    fileprivate static var prefix: String { Project.idPrefix }
}

extension SystemConnection {
    /// Deletes files whose time is over, with their objects, and tells of it.
    func expireFiles(most: Int) throws -> Int {
        let gone = try query(
            """
            WITH expired AS (
                SELECT id FROM files WHERE deleted_at IS NULL AND expires_at <= now() ORDER BY expires_at LIMIT \(most) FOR UPDATE SKIP LOCKED),
            gone AS (
                UPDATE files SET deleted_at = now(), filename = '', relative_path = NULL, attributes = NULL
                FROM expired WHERE files.id = expired.id RETURNING files.project_id, object_key, \(trusted: FileEvent.formerColumns)),
            emptied AS (
                UPDATE objects SET state = 'deleted', touched_at = now() FROM gone WHERE key = object_key AND state = 'stored'
                RETURNING objects.project_id, objects.bytes),
            counted AS (
                UPDATE storage_usage u SET bytes = u.bytes - s.bytes
                FROM (SELECT project_id, sum(bytes) AS bytes FROM emptied GROUP BY project_id) AS s WHERE u.project_id = s.project_id)
            SELECT * FROM gone
            """)
        for row in gone { try emit(FileEvent(row).event(.fileDeleted), of: row.get("project_id")) }
        return gone.count
    }

    /// Deletes large answers that no key can ask for any more.
    func expireAnswers(after seconds: Double, most: Int) throws -> Int {
        try query(
            """
            WITH old AS (
                SELECT key FROM objects
                WHERE kind = 'answer' AND state = 'stored' AND created_at < now() - make_interval(secs => \(seconds))
                ORDER BY created_at LIMIT \(most) FOR UPDATE SKIP LOCKED),
            gone AS (
                UPDATE objects SET state = 'deleted', touched_at = now() FROM old WHERE objects.key = old.key RETURNING project_id, bytes),
            counted AS (
                UPDATE storage_usage u SET bytes = u.bytes - s.bytes
                FROM (SELECT project_id, sum(bytes) AS bytes FROM gone GROUP BY project_id) AS s WHERE u.project_id = s.project_id)
            SELECT count(*) AS count FROM gone
            """)[0].get("count")
    }

    /// Gives up objects whose writers are silent, and what is reserved for them.
    func giveUpObjects(silentFor seconds: Double, most: Int) throws -> Int {
        try query(
            """
            WITH silent AS (
                SELECT key, project_id, bytes FROM objects
                WHERE state = 'writing' AND touched_at < now() - make_interval(secs => \(seconds))
                ORDER BY touched_at LIMIT \(most) FOR UPDATE SKIP LOCKED),
            given AS (UPDATE objects SET state = 'deleted', touched_at = now() FROM silent WHERE objects.key = silent.key RETURNING 1),
            counted AS (
                UPDATE storage_usage u SET reserved = u.reserved - s.bytes
                FROM (SELECT project_id, sum(bytes) AS bytes FROM silent GROUP BY project_id) AS s WHERE u.project_id = s.project_id)
            SELECT count(*) AS count FROM given
            """)[0].get("count")
    }

    func deletedObjects(most: Int) throws -> [(key: String, parts: Int)] {
        try query("SELECT key, parts FROM objects WHERE state = 'deleted' ORDER BY touched_at LIMIT \(most)")
            .map { (try $0.get("key"), try $0.get("parts")) }
    }

    func forgetObject(_ key: String) throws { try query("DELETE FROM objects WHERE key = \(key) AND state = 'deleted'") }

    func forgetFiles(after seconds: Double, most: Int) throws -> Int {
        try query(
            """
            DELETE FROM files USING (
                SELECT id FROM files WHERE deleted_at < now() - make_interval(secs => \(seconds)) LIMIT \(most)) AS old
            WHERE files.id = old.id RETURNING 1
            """
        ).count
    }

    func unixNow() throws -> Int { try query("SELECT extract(epoch FROM now())::bigint AS now")[0].get("now") }

    /// Those keys of the store that belong to no row, of projects that are ours.
    func orphans(among keys: [String]) throws -> [String] {
        try query(
            """
            SELECT part FROM unnest(\(keys)::text[]) AS part
            WHERE EXISTS (SELECT 1 FROM projects WHERE id = split_part(part, '/', 1))
                AND NOT EXISTS (SELECT 1 FROM objects WHERE key = regexp_replace(part, '/[0-9]+$', ''))
            """
        ).map { try $0.get("part") }
    }

    /// Sets counters to what the rows add up to.
    /// - Returns: the projects whose counter was wrong by more than the tolerance, and by how much.
    func correctStorageUsage(tolerance: Int) throws -> [(project: String, difference: Int)] {
        // In the order in which writers take them: the counter before the objects.
        try query("SELECT 1 FROM storage_usage ORDER BY project_id FOR UPDATE")
        return try query(
            """
            WITH real AS (
                SELECT u.project_id, u.bytes AS counted, coalesce(sum(o.bytes) FILTER (WHERE o.state = 'stored'), 0) AS stored,
                    coalesce(sum(o.bytes) FILTER (WHERE o.state = 'writing'), 0) AS writing
                FROM storage_usage u LEFT JOIN objects o USING (project_id) GROUP BY u.project_id),
            changed AS (
                UPDATE storage_usage u SET bytes = real.stored, reserved = real.writing FROM real
                WHERE u.project_id = real.project_id AND (u.bytes, u.reserved) IS DISTINCT FROM (real.stored, real.writing))
            SELECT project_id, (stored - counted)::bigint AS difference FROM real WHERE abs(stored - counted) > \(tolerance)
            """
        ).map { (try $0.get("project_id"), try $0.get("difference")) }
    }
}
