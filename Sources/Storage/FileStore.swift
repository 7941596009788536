import Jobs
import OpenAI
import Postgres
import Server
import Tenancy

/// Which files a list shall show; nil = all.
public struct FileFilter: Sendable, Equatable {
    public var purpose: String?
    /// Of the relative path.
    public var prefix: String?

    public init(purpose: String? = nil, prefix: String? = nil) {
        self.purpose = purpose
        self.prefix = prefix
    }
}

/// A project's files. From its expiry on a file is not found, whether the sweeper has come by or not.
extension TenantConnection {
    /// Files for batches that say nothing themselves stay as long as what the project's longest tier keeps, others for ever (03 §7).
    func createFile(_ id: ID<File>, _ new: NewFile, _ object: ObjectManifest, timeScale: Double) throws -> File {
        let file = try query(
            """
            INSERT INTO files (id, project_id, filename, purpose, content_type, relative_path, attributes, bytes, sha256, object_key, expires_at)
            VALUES (\(id), \(project), \(new.filename), \(new.purpose), \(new.contentType), \(new.relativePath),
                \(new.attributes.map { String(decoding: $0, as: UTF8.self) })::jsonb, \(object.bytes), \(object.sha256), \(object.place.key),
                date_trunc('second', now()) + make_interval(secs => coalesce(\(new.lifetime), CASE WHEN \(new.purpose) = 'batch' THEN
                    \(timeScale)::double precision * (SELECT coalesce(max(cold_retention_s) FILTER (WHERE used), min(cold_retention_s)) FROM (
                        SELECT cold_retention_s, EXISTS (SELECT 1 FROM endpoints WHERE project_id = \(project) AND tier = slug AND deleted_at IS NULL)
                            AS used
                        FROM service_tiers) AS tiers) END)))
            RETURNING \(trusted: File.columns)
            """)[0].file()
        try emit(FileEvent(file).event(.fileUploaded))
        return file
    }

    public func file(_ id: ID<File>) throws -> File {
        let rows = try query(
            "SELECT \(trusted: File.columns) FROM files WHERE project_id = \(project) AND id = \(id) AND \(trusted: File.isThere)")
        guard let row = rows.first else { throw StorageError.noSuchFile(id.description) }
        return try row.file()
    }

    public func fileContent(_ id: ID<File>) throws -> FileContent {
        let rows = try query(
            """
            SELECT \(trusted: File.columns), content_type, parts, objects.bytes AS plain, objects.sha256 AS plain_sha256
            FROM files JOIN objects ON objects.project_id = files.project_id AND objects.key = files.object_key AND state = 'stored'
            WHERE files.project_id = \(project) AND files.id = \(id) AND \(trusted: File.isThere)
            """)
        guard let row = rows.first else { throw StorageError.noSuchFile(id.description) }
        let place = ObjectPlace(project: project, kind: .file, id: id.description)
        return FileContent(
            file: try row.file(), contentType: try row.get("content_type"),
            object: ObjectManifest(
                place: place, bytes: try row.get("plain"), parts: try row.get("parts"), sha256: try row.get("plain_sha256")))
    }

    public func files(_ list: ListQuery, _ filter: FileFilter = FileFilter()) throws -> ListPage<File> {
        try list.checkCursors { cursor in try query("SELECT 1 FROM files WHERE project_id = \(project) AND id = \(cursor)") }
        return list.page(
            try query(
                """
                SELECT \(trusted: File.columns) FROM files
                WHERE project_id = \(project) AND \(trusted: File.isThere)
                    AND (\(filter.purpose)::text IS NULL OR purpose = \(filter.purpose))
                    AND (\(filter.prefix)::text IS NULL OR starts_with(relative_path, \(filter.prefix)))
                    \(page: list, of: "files", in: project)
                """
            ).map { try $0.file() })
    }

    /// - Throws: `StorageError.noSuchFile`, also the second time.
    func deleteFile(_ id: ID<File>) throws {
        let rows = try query(
            """
            UPDATE files SET deleted_at = now(), filename = '', relative_path = NULL, attributes = NULL
            WHERE project_id = \(project) AND id = \(id) AND \(trusted: File.isThere)
            RETURNING object_key, \(trusted: FileEvent.formerColumns)
            """)
        guard let row = rows.first else { throw StorageError.noSuchFile(id.description) }
        try deleteObject(row.get("object_key"))
        try emit(FileEvent(row).event(.fileDeleted))
    }
}

extension File {
    static let isThere = "files.deleted_at IS NULL AND (files.expires_at IS NULL OR files.expires_at > now())"

    fileprivate static let columns = """
        files.id, files.bytes, floor(extract(epoch FROM files.created_at))::bigint AS created, floor(extract(epoch FROM files.expires_at))::bigint AS expires,
        files.filename, files.purpose, files.status, files.status_details, files.relative_path, encode(files.sha256, 'hex') AS digest
        """
}

extension Row {
    fileprivate func file() throws -> File {
        File(
            id: try get("id"), bytes: try get("bytes"), createdAt: try get("created"), expiresAt: try optional("expires"),
            filename: try get("filename"), purpose: try get("purpose"), status: try get("status"),
            statusDetails: try optional("status_details"), relativePath: try optional("relative_path"), sha256: try get("digest"))
    }
}
