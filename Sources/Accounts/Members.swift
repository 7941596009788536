import OpenAI
import Postgres
import Server
import Tenancy

/// A person, as the operator's tool shows them.
public struct UserRecord: Sendable, Codable, Equatable {
    public enum SystemRole: String, Sendable, Codable, CaseIterable { case `operator`, admin }

    public var id: ID<User>
    public var email: String
    public var name: String
    public var systemRole: SystemRole

    private enum CodingKeys: String, CodingKey {
        case id, email, name
        case systemRole = "system_role"
    }
}

/// A user's part in a project, as the operator's tool shows it.
public struct Membership: Sendable, Codable, Equatable {
    public var userID: ID<User>
    public var role: ProjectRole

    private enum CodingKeys: String, CodingKey {
        case role
        case userID = "user_id"
    }
}

extension SystemConnection {
    /// Creates the user of this address or, where they are given, changes name and system role.
    public func setUser(email: String, name: String?, systemRole: UserRecord.SystemRole?, by actor: AuditActor) throws -> UserRecord {
        guard email.utf8.count <= 254, email.wholeMatch(of: /[^@\s]+@[^@\s]+/) != nil else {
            throw APIError.invalid("email", "This is not an e-mail address.")
        }
        if let name, !(1...128).contains(name.unicodeScalars.count) { throw APIError.invalid("name", "A name has 1 to 128 characters.") }
        return try transaction {
            let before = try query("SELECT \(trusted: UserRecord.columns) FROM users WHERE lower(email) = lower(\(email)) FOR UPDATE")
                .first?
                .userRecord()
            let after = try query(
                """
                INSERT INTO users (id, email, name, system_role)
                VALUES (\(ID<User>.random()), \(email), \(name ?? email), \(systemRole?.rawValue ?? "operator"))
                ON CONFLICT (lower(email)) DO UPDATE SET name = COALESCE(\(name), users.name),
                    system_role = COALESCE(\(systemRole?.rawValue), users.system_role), updated_at = now()
                RETURNING \(trusted: UserRecord.columns)
                """)[0].userRecord()
            guard before != after else { return after }
            // The address of a person stays out of the log, which cannot forget.
            try audit(
                AuditEntry(
                    action: before == nil ? "user.create" : "user.update", target: ("user", after.id.description),
                    before: before.map { ["system_role": $0.systemRole.rawValue] }, after: ["system_role": after.systemRole.rawValue]),
                by: actor)
            return after
        }
    }

    /// The user of this address, or a 400.
    public func requireUser(email: String) throws -> ID<User> {
        guard let row = try query("SELECT id FROM users WHERE lower(email) = lower(\(email))").first else {
            throw APIError.invalid("email", "There is no user with this address.")
        }
        return try row.get("id")
    }
}

extension TenantConnection {
    /// Makes the user a member of the project, or changes their role.
    public func setMember(_ user: ID<User>, role: ProjectRole, by actor: AuditActor) throws -> Membership {
        try transaction {
            let before = try query(
                "SELECT user_id, role FROM memberships WHERE project_id = \(project) AND user_id = \(user) FOR UPDATE"
            ).first?.membership()
            let after = try query(
                """
                INSERT INTO memberships (project_id, user_id, role) VALUES (\(project), \(user), \(role.rawValue))
                ON CONFLICT (project_id, user_id) DO UPDATE SET role = EXCLUDED.role, updated_at = now()
                RETURNING user_id, role
                """)[0].membership()
            guard before != after else { return after }
            try audit(AuditEntry(action: "member.role", target: ("user", user.description), before: before, after: after), by: actor)
            return after
        }
    }
}

extension UserRecord {
    fileprivate static let columns = "id, email, name, system_role"
}

extension Row {
    fileprivate func userRecord() throws -> UserRecord {
        UserRecord(
            id: try get("id"), email: try get("email"), name: try get("name"),
            systemRole: UserRecord.SystemRole(rawValue: try get("system_role")) ?? .operator)
    }

    fileprivate func membership() throws -> Membership {
        guard let role = ProjectRole(rawValue: try get("role")) else { throw PostgresError.column("role", problem: "is no role") }
        return Membership(userID: try get("user_id"), role: role)
    }
}
