import Postgres

/// The two roles that programs act as in the database. The operator makes them, because that takes a superuser.
public enum DatabaseRole {
    /// Sees the rows of all projects (`BYPASSRLS`). The tables' owner switches to it.
    static let system = "xerotier_system"
    /// Sees the rows of one project, by the policies on `xerotier.project`. A login of its own, member of nothing.
    static let tenant = "xerotier_tenant"

    /// Whether the roles are as they must be, asked on a connection of the tables' owner.
    /// - Throws: `DatabaseRoleError`
    public static func check(on connection: Connection) throws {
        let isReady: Bool = try connection.query(
            """
            SELECT EXISTS (SELECT 1 FROM pg_roles
                    WHERE rolname = \(system) AND rolbypassrls AND NOT rolsuper AND pg_has_role(current_user, oid, 'SET'))
                AND EXISTS (SELECT 1 FROM pg_roles t
                    WHERE rolname = \(tenant) AND rolcanlogin AND NOT rolbypassrls AND NOT rolsuper
                        AND NOT EXISTS (SELECT 1 FROM pg_auth_members WHERE member = t.oid)) AS ready
            """)[0].get("ready")
        guard isReady else { throw DatabaseRoleError() }
    }
}

public struct DatabaseRoleError: Error, Sendable, CustomStringConvertible {
    public var description: String {
        """
        The roles \(DatabaseRole.system) (BYPASSRLS, granted to this user) and \(DatabaseRole.tenant) (LOGIN, member of nothing) are missing \
        or wrong: see "Roles of the database" in README.md.
        """
    }
}
