import OpenAI
import Postgres
import Tenancy

/// How much projects may store (08 §4).
public enum StorageLimits {
    /// Of everybody, until plans say more: 4 GB.
    public static let usual = 4_000_000_000
}

/// The rows of objects and of what a project has stored. Each change of a row and of the counter is one transaction.
extension TenantConnection {
    /// Reserves room, and writes down that an object is being written.
    /// - Parameter parts: how many of it may be in the store from now on.
    func beginObject(_ place: ObjectPlace, parts: Int, reserving bytes: Int) throws {
        try reserve(bytes)
        try query(
            """
            INSERT INTO objects (key, project_id, kind, bytes, parts) VALUES (\(place.key), \(project), \(place.kind.rawValue), \(bytes), \(parts))
            """)
    }

    /// Says that somebody still writes it, and how many parts may be in the store by now.
    /// - Throws: `StorageError.givenUp` where the sweeper has taken it for dead.
    func touchObject(_ place: ObjectPlace, parts: Int, reserving more: Int) throws {
        // The object before the counter, as everybody takes them.
        let rows = try query(
            """
            UPDATE objects SET touched_at = now(), parts = \(parts), bytes = bytes + \(more)
            WHERE project_id = \(project) AND key = \(place.key) AND state = 'writing' RETURNING 1
            """)
        guard !rows.isEmpty else { throw StorageError.givenUp }
        if more > 0 { try reserve(more) }
    }

    /// What was reserved becomes what is used.
    func storeObject(_ object: ObjectManifest) throws {
        let rows = try query(
            """
            WITH written AS (SELECT bytes FROM objects WHERE project_id = \(project) AND key = \(object.place.key) AND state = 'writing' FOR UPDATE),
            counted AS (
                UPDATE storage_usage SET bytes = storage_usage.bytes + \(object.bytes), reserved = reserved - written.bytes
                FROM written WHERE project_id = \(project))
            UPDATE objects SET state = 'stored', bytes = \(object.bytes), parts = \(object.parts), sha256 = \(object.sha256), touched_at = now()
            FROM written WHERE project_id = \(project) AND key = \(object.place.key) RETURNING 1
            """)
        guard !rows.isEmpty else { throw StorageError.givenUp }
    }

    /// - Returns: how many parts may be in the store; nil = somebody else has given it up already.
    func giveUpObject(_ place: ObjectPlace) throws -> Int? {
        try query(
            """
            WITH written AS (SELECT bytes FROM objects WHERE project_id = \(project) AND key = \(place.key) AND state = 'writing' FOR UPDATE),
            counted AS (UPDATE storage_usage SET reserved = reserved - written.bytes FROM written WHERE project_id = \(project))
            UPDATE objects SET state = 'deleted', touched_at = now()
            FROM written WHERE project_id = \(project) AND key = \(place.key) RETURNING parts
            """
        ).first?.get("parts")
    }

    /// Deletes a stored object; its bytes follow when the sweeper comes.
    public func deleteObject(_ key: String) throws {
        try query(
            """
            WITH gone AS (
                UPDATE objects SET state = 'deleted', touched_at = now()
                WHERE project_id = \(project) AND key = \(key) AND state = 'stored' RETURNING bytes)
            UPDATE storage_usage SET bytes = storage_usage.bytes - gone.bytes FROM gone WHERE project_id = \(project)
            """)
    }

    /// What the project uses.
    public func storageReadout() throws -> StorageReadout {
        let row = try query(
            """
            SELECT coalesce(max(bytes), 0) AS bytes, coalesce(max(limit_bytes), \(StorageLimits.usual)) AS most
            FROM storage_usage WHERE project_id = \(project)
            """)[0]
        let kinds = try query(
            """
            SELECT kind, sum(bytes)::bigint AS bytes FROM objects WHERE project_id = \(project) AND state = 'stored' GROUP BY kind ORDER BY kind
            """)
        return StorageReadout(
            bytesUsed: try row.get("bytes"), bytesLimit: try row.get("most"),
            byKind: try Dictionary(uniqueKeysWithValues: kinds.map { (try $0.get("kind"), try $0.get("bytes")) }))
    }

    private func reserve(_ bytes: Int) throws {
        try query("INSERT INTO storage_usage (project_id) VALUES (\(project)) ON CONFLICT DO NOTHING")
        let row = try query(
            """
            UPDATE storage_usage SET reserved = reserved + \(bytes) WHERE project_id = \(project)
            RETURNING bytes + reserved <= coalesce(limit_bytes, \(StorageLimits.usual)) AS fits, coalesce(limit_bytes, \(StorageLimits.usual)) AS most
            """)[0]
        guard try row.get("fits") else { throw StorageError.quota(limit: try row.get("most")) }
    }
}

/// `GET storage`
public struct StorageReadout: Sendable, Equatable, Encodable {
    public var bytesUsed: Int
    public var bytesLimit: Int
    public var byKind: [String: Int]

    public init(bytesUsed: Int, bytesLimit: Int, byKind: [String: Int]) {
        self.bytesUsed = bytesUsed
        self.bytesLimit = bytesLimit
        self.byKind = byKind
    }

    private enum CodingKeys: String, CodingKey {
        case bytesUsed = "bytes_used"
        case bytesLimit = "bytes_limit"
        case byKind = "by_kind"
    }
}
