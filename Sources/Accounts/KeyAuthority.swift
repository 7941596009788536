import OpenAI
import Postgres
import Server
import Tenancy

/// A user's part in a project (08 §1).
public enum ProjectRole: String, Sendable, CaseIterable, Codable { case owner, admin, member, viewer }

/// What somebody may do with the keys of a project: owners and admins all, members with their own ones of scope `inference`, others nothing.
enum KeyAuthority: Equatable {
    case owner, admin
    case own(userID: String)

    /// The user whose keys are seen; nil = all keys.
    var onlyUser: String? {
        if case .own(let userID) = self { userID } else { nil }
    }

    /// - Throws: 403 `permission_denied` when this is not theirs to give.
    func check(giving scopes: [Scope], isService: Bool) throws {
        if case .own = self, scopes != [.inference] {
            throw AccountError.permissionDenied("A member can make keys of scope inference only.")
        }
        if isService, self != .owner { throw AccountError.permissionDenied("Only an owner can mark a key as a service's.") }
    }
}

extension TenantConnection {
    /// What `actor` may do with keys here. Who acts for no user is the operator, and counts as owner.
    func keyAuthority(of actor: AuditActor) throws -> KeyAuthority {
        guard let userID = actor.userID else { return .owner }
        switch try role(of: userID) {
        case .owner: return .owner
        case .admin: return .admin
        case .member: return .own(userID: userID)
        case .viewer, nil: throw AccountError.permissionDenied("Your role in the project does not allow this.")
        }
    }

    /// Owners and admins set up what a project has: endpoints, their CORS and the like (08 §1).
    /// - Throws: 403 `permission_denied`.
    package func requireManager(_ actor: AuditActor) throws {
        if case .own = try keyAuthority(of: actor) {
            throw AccountError.permissionDenied("Your role in the project does not allow this.")
        }
    }

    /// The role of a user in this project; a system admin is an owner everywhere.
    private func role(of userID: String) throws -> ProjectRole? {
        try query(
            """
            SELECT CASE WHEN u.system_role = 'admin' THEN 'owner' ELSE m.role END AS role
            FROM users u LEFT JOIN memberships m ON m.user_id = u.id AND m.project_id = \(project)
            WHERE u.id = \(userID)
            """
        ).first?.optional("role", as: String.self).flatMap(ProjectRole.init(rawValue:))
    }
}
