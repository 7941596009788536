import Crypto
import OpenAI
import Postgres
import Server
import Tenancy

/// The identifiers of data keys.
public enum StoredDataKey: Identified { public static let idPrefix = "dk_" }

/// A data key as it is shown: never the key.
public struct DataKeyListing: Sendable, Encodable, Equatable {
    public var id: ID<StoredDataKey>
    public var object = "data_key"
    public var projectID: ID<Project>
    /// `current`, `retired` (still opens) or `destroyed`.
    public var state: String
    public var masterKeyID: String
    public var createdAt: Int
    public var rewrappedAt: Int?
    public var retiredAt: Int?

    private enum CodingKeys: String, CodingKey {
        case id, object, state
        case projectID = "project_id"
        case masterKeyID = "master_key_id"
        case createdAt = "created_at"
        case rewrappedAt = "rewrapped_at"
        case retiredAt = "retired_at"
    }
}

extension SystemConnection {
    /// The key that seals for the project now; nil = none yet.
    func currentDataKey(of project: ID<Project>) throws -> WrappedDataKey? {
        try query(
            "SELECT id, project_id, wrapped_key, master_key_id FROM data_keys WHERE project_id = \(project) AND retired_at IS NULL"
        ).first?.wrappedDataKey()
    }

    /// nil = the project has no such key, or it was destroyed.
    func dataKey(_ id: String, of project: ID<Project>) throws -> WrappedDataKey? {
        try query(
            """
            SELECT id, project_id, wrapped_key, master_key_id FROM data_keys
            WHERE id = \(id) AND project_id = \(project) AND destroyed_at IS NULL
            """
        ).first?.wrappedDataKey()
    }

    /// Makes the project's first key. Of several at the same moment one stays.
    /// - Throws: `APIError` 404 where there is no such project, or it is deleted: a deleted one gets no new key.
    func makeDataKey(of project: ID<Project>, _ masters: MasterKeys) throws -> WrappedDataKey {
        try transaction {
            guard !(try query("SELECT 1 FROM projects WHERE id = \(project) AND status <> 'deleted' FOR SHARE")).isEmpty else {
                throw APIError(.projectNotFound, "The project does not exist.", param: "project")
            }
            let key = try masters.wrap(.random(id: ID<StoredDataKey>.random().description), project: project.description)
            try query(
                """
                INSERT INTO data_keys (id, project_id, wrapped_key, master_key_id)
                VALUES (\(key.id), \(project), \(key.bytes), \(key.masterKeyID))
                ON CONFLICT (project_id) WHERE retired_at IS NULL DO NOTHING
                """)
            guard let made = try currentDataKey(of: project) else { throw SealingError.noKey }
            return made
        }
    }

    /// Gives the project a new key for what is sealed from now on; the old ones go on opening what they sealed.
    public func rotateDataKey(of project: ID<Project>, _ masters: MasterKeys, by actor: AuditActor) throws -> DataKeyListing {
        try transaction {
            try query("UPDATE data_keys SET retired_at = now() WHERE project_id = \(project) AND retired_at IS NULL")
            let key = try masters.wrap(.random(id: ID<StoredDataKey>.random().description), project: project.description)
            let made = try query(
                """
                INSERT INTO data_keys (id, project_id, wrapped_key, master_key_id)
                VALUES (\(key.id), \(project), \(key.bytes), \(key.masterKeyID)) RETURNING \(trusted: DataKeyListing.columns)
                """)[0].dataKeyListing()
            try audit(AuditEntry(action: "data_key.rotate", target: ("data_key", made.id.description), after: made), of: project, by: actor)
            return made
        }
    }

    /// Destroys the project's keys: nothing that was sealed for it can be opened again, by anybody. Other processes forget them within a minute,
    /// or at once when they are told `data_keys:<project>`.
    public func destroyDataKeys(of project: ID<Project>, by actor: AuditActor) throws -> [DataKeyListing] {
        try transaction {
            let destroyed = try destroyDataKeys(of: project)
            if !destroyed.isEmpty {
                try audit(
                    AuditEntry(action: "data_key.destroy", target: ("project", project.description), after: destroyed), of: project,
                    by: actor)
            }
            return destroyed
        }
    }

    private func destroyDataKeys(of project: ID<Project>) throws -> [DataKeyListing] {
        try query(
            """
            UPDATE data_keys SET wrapped_key = NULL, destroyed_at = now(), retired_at = COALESCE(retired_at, now())
            WHERE project_id = \(project) AND destroyed_at IS NULL RETURNING \(trusted: DataKeyListing.columns)
            """
        ).map { try $0.dataKeyListing() }
    }

    /// The keys of a project, the newest first.
    public func dataKeys(of project: ID<Project>) throws -> [DataKeyListing] {
        try query(
            "SELECT \(trusted: DataKeyListing.columns) FROM data_keys WHERE project_id = \(project) ORDER BY data_keys.created_at DESC, id DESC"
        ).map { try $0.dataKeyListing() }
    }

    /// Wraps up to `limit` keys under the current master key, all of them or none; what is wrapped so already is left alone, so that it may be
    /// called again at any time.
    /// - Returns: how many there were; 0 = all are done.
    public func rewrapDataKeys(limit: Int, _ masters: MasterKeys, by actor: AuditActor) throws -> Int {
        try transaction {
            let rows = try query(
                """
                SELECT id, project_id, wrapped_key, master_key_id FROM data_keys
                WHERE master_key_id <> \(masters.currentID) AND destroyed_at IS NULL ORDER BY id LIMIT \(limit) FOR UPDATE
                """)
            for row in rows {
                guard let key = try masters.rewrap(row.wrappedDataKey()) else { continue }
                try query(
                    """
                    UPDATE data_keys SET wrapped_key = \(key.bytes), master_key_id = \(key.masterKeyID), rewrapped_at = now()
                    WHERE id = \(key.id) AND project_id = \(key.project)
                    """)
            }
            if !rows.isEmpty {
                try audit(
                    AuditEntry(action: "data_key.rewrap", target: ("master_key", masters.currentID), after: ["data_keys": rows.count]),
                    by: actor)
            }
            return rows.count
        }
    }
}

extension DataKeyListing {
    fileprivate static let columns = """
        id, project_id, CASE WHEN destroyed_at IS NOT NULL THEN 'destroyed' WHEN retired_at IS NOT NULL THEN 'retired' ELSE 'current' END AS state,
        master_key_id, extract(epoch FROM created_at)::bigint AS created_at, extract(epoch FROM rewrapped_at)::bigint AS rewrapped_at,
        extract(epoch FROM retired_at)::bigint AS retired_at
        """
}

extension Row {
    fileprivate func wrappedDataKey() throws -> WrappedDataKey {
        WrappedDataKey(
            id: try get("id"), project: try get("project_id"), bytes: try get("wrapped_key"), masterKeyID: try get("master_key_id"))
    }

    fileprivate func dataKeyListing() throws -> DataKeyListing {
        DataKeyListing(
            id: try get("id"), projectID: try get("project_id"), state: try get("state"), masterKeyID: try get("master_key_id"),
            createdAt: try get("created_at"), rewrappedAt: try optional("rewrapped_at"), retiredAt: try optional("retired_at"))
    }
}
