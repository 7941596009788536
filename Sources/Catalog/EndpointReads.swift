import OpenAI
import Postgres
import Server
import Tenancy

/// Which endpoints a list shall show; nil = all.
public struct EndpointFilter: Sendable, Equatable {
    public var status: EndpointRecord.Status?
    public var tier: String?
    public var taskMode: TaskMode?
    /// Part of the slug, the name or the model's name, in any case.
    public var text: String?
    /// The only endpoint that the reader may see, by slug.
    public var only: String?

    public init() {}

    init(_ query: Query) throws {
        status = try query["status"].map { text in
            guard let status = EndpointRecord.Status(rawValue: text) else {
                throw APIError.invalid("status", "'status' must be provisioning, active, degraded, inactive or failed.")
            }
            return status
        }
        tier = query["tier"]
        taskMode = try query["task_mode"].map { text in
            guard let mode = TaskMode(rawValue: text == "chat" ? "generate" : text) else {
                throw APIError.invalid("task_mode", "'task_mode' must be generate, embed or score.")
            }
            return mode
        }
        text = query["q"]
        if let text, text.unicodeScalars.count > 128 { throw APIError.invalid("q", "'q' has at most 128 characters.") }
    }
}

extension TenantConnection {
    /// - Parameter name: the identifier or the slug. A deleted endpoint is not found.
    func endpointObject(_ name: String, locking: Bool = false) throws -> EndpointObject? {
        try query(
            """
            SELECT \(trusted: EndpointObject.columns) FROM \(trusted: EndpointObject.tables)
            WHERE e.project_id = \(project) AND (e.id = \(name) OR e.slug = \(name)) AND e.deleted_at IS NULL
            \(trusted: locking ? "FOR UPDATE OF e" : "")
            """
        ).first?.endpointObject()
    }

    public func requireEndpoint(_ name: String) throws -> EndpointObject {
        guard let endpoint = try endpointObject(name) else { throw CatalogError.endpointNotFound }
        return endpoint
    }

    public func endpoints(_ list: ListQuery, _ filter: EndpointFilter) throws -> ListPage<EndpointObject> {
        // A cursor that was deleted meanwhile still says where to go on.
        try list.checkCursors { cursor in try query("SELECT 1 FROM endpoints WHERE project_id = \(project) AND id = \(cursor)") }
        return list.page(
            try query(
                """
                SELECT \(trusted: EndpointObject.columns) FROM \(trusted: EndpointObject.tables)
                WHERE e.project_id = \(project) AND e.deleted_at IS NULL
                    AND (\(filter.only)::text IS NULL OR e.slug = \(filter.only))
                    AND (\(filter.status?.rawValue)::text IS NULL OR e.status = \(filter.status?.rawValue))
                    AND (\(filter.tier)::text IS NULL OR e.tier = \(filter.tier))
                    AND (\(filter.taskMode?.rawValue)::text IS NULL OR e.task_mode = \(filter.taskMode?.rawValue))
                    AND (\(filter.text)::text IS NULL
                        OR position(lower(\(filter.text)) IN lower(e.slug || ' ' || e.name || ' ' || m.name)) > 0)
                    \(page: list, of: "endpoints", as: "e", in: project)
                """
            ).map { try $0.endpointObject() })
    }
}
