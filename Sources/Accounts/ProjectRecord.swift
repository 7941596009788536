import OpenAI
import Postgres
import Server
import Tenancy

/// A project as the operator's tool shows it.
public struct ProjectRecord: Sendable, Codable, Equatable {
    public var id: ID<Project>
    public var slug: String
    public var name: String
}

extension SystemConnection {
    /// Creates the project of this slug or, where a name is given, renames it.
    public func setProject(slug: String, name: String?, by actor: AuditActor) throws -> ProjectRecord {
        guard Slug.isProject(slug) else {
            throw APIError.invalid(
                "slug", "A project slug has 2 to 40 characters of a-z, 0-9 and -, starts with a letter and does not end in -.")
        }
        guard !Slug.reserved.contains(slug) else { throw APIError.invalid("slug", "'\(slug)' is a reserved word.") }
        if let name, !(1...128).contains(name.count) { throw APIError.invalid("name", "A name has 1 to 128 characters.") }
        return try transaction {
            let before = try query("SELECT id, slug, name FROM projects WHERE slug = \(slug) FOR UPDATE").first?.projectRecord()
            let after = try upsert(slug: slug, name: name)
            guard before != after else { return after }
            try audit(
                AuditEntry(
                    action: before == nil ? "project.create" : "project.update", target: ("project", after.id.description), before: before,
                    after: after), of: after.id, by: actor)
            return after
        }
    }

    private func upsert(slug: String, name: String?) throws -> ProjectRecord {
        try query(
            """
            INSERT INTO projects (id, slug, name) VALUES (\(ID<Project>.random()), \(slug), \(name ?? slug))
            ON CONFLICT (slug) DO UPDATE SET
                name = COALESCE(\(name), projects.name),
                updated_at = CASE WHEN projects.name = COALESCE(\(name), projects.name) THEN projects.updated_at ELSE now() END
            RETURNING id, slug, name
            """)[0].projectRecord()
    }

    /// The project of this slug, as an identifier, or a 404.
    public func requireProject(slug: String) throws -> ID<Project> {
        guard let id = try project(named: slug) else {
            throw APIError(.projectNotFound, "There is no project '\(slug)'.", param: "project")
        }
        return id
    }
}

extension Row {
    fileprivate func projectRecord() throws -> ProjectRecord {
        ProjectRecord(id: try get("id"), slug: try get("slug"), name: try get("name"))
    }
}
