import OpenAI
import Postgres
import Server
import Tenancy

/// Management of a project's keys. Each change and its line in the audit log are one transaction; who may not see a key does not find it.
extension TenantConnection {
    /// Makes a key and stores its digest; its value is only in the answer.
    public func createKey(_ new: NewKey, by actor: AuditActor) throws -> KeyObject {
        try KeyRules.check(name: new.name)
        try new.ipFilter?.check()
        try new.quota.map(KeyRules.check)
        return try transaction {
            try keyAuthority(of: actor).check(giving: new.scopes, isService: new.isService)
            let endpoint = try new.endpoint.map { name in
                guard let found = try pinnedEndpoint(name) else {
                    throw APIError(.endpointNotFound, "There is no endpoint '\(name.prefix(64))'.", param: "endpoint")
                }
                return found
            }
            if endpoint?.isForBrowsers == true { try BrowserKeys.check(scopes: new.scopes, quota: new.quota) }
            let value = try newKeyText()
            let rows = try query(
                """
                INSERT INTO api_keys (id, project_id, name, prefix, key_hash, scopes, endpoint, ip_filter, quota, is_service, created_by, expires_at)
                SELECT \(ID<APIKey>.random()), \(project), \(new.name), \(value.shownPrefix), \(value.digest.bytes),
                    \(new.scopes.map(\.rawValue)), \(endpoint?.slug), \(try jsonText(new.ipFilter))::jsonb, \(try jsonText(new.quota))::jsonb,
                    \(new.isService), \(actor.userID), expiry
                FROM (SELECT COALESCE(to_timestamp(\(new.expiry.unixSeconds)::bigint), date_trunc('second', now()) + make_interval(days => \(new.expiry.days)::integer))
                    AS expiry) AS given
                WHERE expiry IS NULL OR expiry > now()
                RETURNING \(trusted: KeyObject.columns)
                """)
            guard var key = try rows.first?.keyObject() else { throw KeyRules.pastExpiry }
            try audit(AuditEntry(action: "key.create", target: ("api_key", key.id.description), after: key), by: actor)
            key.key = value.value
            return key
        }
    }

    /// A key, in use or revoked.
    public func key(_ id: ID<APIKey>, for actor: AuditActor) throws -> KeyObject {
        let onlyUser = try keyAuthority(of: actor).onlyUser
        let rows = try query(
            """
            SELECT \(trusted: KeyObject.columns) FROM api_keys
            WHERE project_id = \(project) AND id = \(id) AND (\(onlyUser)::text IS NULL OR created_by = \(onlyUser))
            """)
        guard let row = rows.first else { throw AccountError.noSuchKey }
        return try row.keyObject()
    }

    public func keys(_ list: ListQuery = ListQuery(), _ filter: KeyFilter = KeyFilter(), for actor: AuditActor) throws -> ListPage<
        KeyObject
    > {
        let onlyUser = try keyAuthority(of: actor).onlyUser
        try list.checkCursors { cursor in
            try query(
                """
                SELECT 1 FROM api_keys
                WHERE project_id = \(project) AND id = \(cursor) AND (\(onlyUser)::text IS NULL OR created_by = \(onlyUser))
                """)
        }
        return list.page(
            try query(
                """
                SELECT \(trusted: KeyObject.columns) FROM api_keys
                WHERE project_id = \(project) AND (\(onlyUser)::text IS NULL OR created_by = \(onlyUser))
                    AND (\(filter.isActive)::boolean IS NULL OR is_active = \(filter.isActive))
                    AND (\(filter.scope?.rawValue)::text IS NULL OR \(filter.scope?.rawValue) = ANY(scopes))
                    \(page: list, of: "api_keys", in: project)
                """
            ).map { try $0.keyObject() })
    }

    public func updateKey(_ id: ID<APIKey>, to change: KeyChange, by actor: AuditActor) throws -> KeyObject {
        try change.name.map(KeyRules.check(name:))
        return try self.change(id, "key.update", by: actor) { key, _ in
            if let scopes = change.scopes, let wider = scopes.first(where: { !key.scopes.contains($0) }) {
                throw APIError(
                    .invalidScope, "Scopes can only be taken away; the key lacks '\(wider.rawValue)'. Make a new key for it.",
                    param: "scopes")
            }
            let rows = try query(
                """
                UPDATE api_keys SET name = COALESCE(\(change.name), name), scopes = COALESCE(\(change.scopes?.map(\.rawValue)), scopes),
                    expires_at = CASE WHEN \(change.expiry != nil) THEN expiry ELSE expires_at END, updated_at = now()
                FROM (SELECT COALESCE(to_timestamp(\(change.expiry?.unixSeconds)::bigint),
                    date_trunc('second', now()) + make_interval(days => \(change.expiry?.days)::integer)) AS expiry) AS given
                WHERE project_id = \(project) AND id = \(id) AND (expiry IS NULL OR expiry > now())
                RETURNING \(trusted: KeyObject.columns)
                """)
            guard let row = rows.first else { throw KeyRules.pastExpiry }
            return try row.keyObject()
        }
    }

    /// Ends a key for good. Doing it again finds none.
    @discardableResult
    public func revokeKey(_ id: ID<APIKey>, by actor: AuditActor) throws -> KeyObject {
        try change(id, "key.revoke", by: actor) { _, _ in
            try query(
                """
                UPDATE api_keys SET is_active = false, revoked_at = now(), updated_at = now()
                WHERE project_id = \(project) AND id = \(id) RETURNING \(trusted: KeyObject.columns)
                """)[0].keyObject()
        }
    }

    /// Gives the key a new value; the present one stays good for the grace, the one before that ends.
    /// - Parameter grace: seconds.
    public func rotateKey(_ id: ID<APIKey>, grace: Double, by actor: AuditActor) throws -> KeyObject {
        let value = try newKeyText()
        var rotated = try change(id, "key.rotate", by: actor) { key, authority in
            // A new value is a new key in all but name.
            try authority.check(giving: key.scopes, isService: false)
            return try query(
                """
                UPDATE api_keys SET previous_key_hash = key_hash, grace_expires_at = now() + make_interval(secs => \(grace)),
                    key_hash = \(value.digest.bytes), prefix = \(value.shownPrefix), updated_at = now()
                WHERE project_id = \(project) AND id = \(id) RETURNING \(trusted: KeyObject.columns)
                """)[0].keyObject()
        }
        rotated.key = value.value
        return rotated
    }

    public func setIPFilter(_ rules: IPFilterRules?, on id: ID<APIKey>, by actor: AuditActor) throws -> KeyObject {
        try rules?.check()
        return try change(id, "key.ip_filter", by: actor) { _, _ in
            try query(
                """
                UPDATE api_keys SET ip_filter = \(try jsonText(rules))::jsonb, updated_at = now()
                WHERE project_id = \(project) AND id = \(id) RETURNING \(trusted: KeyObject.columns)
                """)[0].keyObject()
        }
    }

    public func setQuota(_ quota: KeyQuota?, on id: ID<APIKey>, by actor: AuditActor) throws -> KeyObject {
        try quota.map(KeyRules.check)
        return try change(id, "key.quota", by: actor) { key, _ in
            if quota == nil, let slug = key.endpoint, try pinnedEndpoint(slug)?.isForBrowsers == true { throw BrowserKeys.needsQuota }
            return try query(
                """
                UPDATE api_keys SET quota = \(try jsonText(quota))::jsonb, updated_at = now()
                WHERE project_id = \(project) AND id = \(id) RETURNING \(trusted: KeyObject.columns)
                """)[0].keyObject()
        }
    }

    /// Changes a key that is in use, which `body` does with the key as it is, and notes it.
    private func change(
        _ id: ID<APIKey>, _ action: String, by actor: AuditActor, _ body: (KeyObject, KeyAuthority) throws -> KeyObject
    ) throws -> KeyObject {
        try transaction {
            let authority = try keyAuthority(of: actor)
            let onlyUser = authority.onlyUser
            let rows = try query(
                """
                SELECT \(trusted: KeyObject.columns) FROM api_keys
                WHERE project_id = \(project) AND id = \(id) AND is_active AND (\(onlyUser)::text IS NULL OR created_by = \(onlyUser))
                FOR UPDATE
                """)
            guard let before = try rows.first?.keyObject() else { throw AccountError.noSuchKey }
            let after = try body(before, authority)
            try audit(AuditEntry(action: action, target: ("api_key", id.description), before: before, after: after), by: actor)
            return after
        }
    }

    private func newKeyText() throws -> KeyText {
        let slug: String = try query("SELECT slug FROM projects WHERE id = \(project)")[0].get("slug")
        guard let key = KeyText.random(projectSlug: slug) else {
            throw APIError.invalid("project", "The slug '\(slug)' cannot be part of a key.")
        }
        return key
    }

    /// Locked, so that it does not become one for browsers meanwhile.
    private func pinnedEndpoint(_ name: String) throws -> (slug: String, isForBrowsers: Bool)? {
        try query(
            """
            SELECT slug, visibility = 'public_key' AS is_for_browsers FROM endpoints
            WHERE project_id = \(project) AND (id = \(name) OR slug = \(name)) AND deleted_at IS NULL FOR SHARE
            """
        ).first.map { (try $0.get("slug"), try $0.get("is_for_browsers")) }
    }
}
