import Accounts
import Jobs
import OpenAI
import Postgres
import Server
import Tenancy

/// Join keys of an owner, a project or the operator.
extension AgentKeeper {
    /// Makes a key and stores its digest; its value is only in the answer.
    /// - Parameters:
    ///   - slug: of the project, which stands in the key's value.
    ///   - timeScale: what its lifetime is multiplied by, in tests.
    func makeJoinKey(_ new: NewJoinKey, slug: String, timeScale: Double, by actor: AuditActor) throws -> JoinKeyObject {
        try transaction {
            let tiers = try new.supportedTiers.map(storedTiers)
            guard let value = JoinKeyText.random(projectSlug: slug) else {
                throw APIError.invalid("project", "The slug '\(slug)' cannot be part of a join key.")
            }
            let rows = try query(
                """
                INSERT INTO join_keys (id, project_id, name, prefix, key_hash, role, region, supported_tiers, router_addr, max_concurrent_requests,
                    created_by, expires_at)
                VALUES (\(ID<JoinKey>.random()), \(owner), \(new.name), \(value.shownPrefix), \(value.digest.bytes), \(new.role.rawValue), \(new.region),
                    \(tiers)::text[], \(new.routerAddress), \(new.maxConcurrent), \(actor.userID),
                    now() + make_interval(secs => \(Double(new.lifetime) * timeScale)))
                RETURNING \(trusted: JoinKeyObject.columns)
                """)
            var key = try JoinKeyObject(rows[0])
            try tell(Event(.joinKeyCreated, JoinKeyEventData(key)))
            try log(AuditEntry(action: "join_key.create", target: ("join_key", key.id.description), after: key), by: actor)
            key.key = value.value
            return key
        }
    }

    func endJoinKey(_ id: ID<JoinKey>, by actor: AuditActor) throws -> JoinKeyObject {
        try transaction {
            let rows = try query(
                """
                SELECT \(trusted: JoinKeyObject.columns) FROM join_keys
                WHERE project_id IS NOT DISTINCT FROM \(owner) AND id = \(id) FOR UPDATE
                """)
            guard let before = try rows.first.map(JoinKeyObject.init) else { throw JoinKeyError.noSuchKey }
            guard before.state == .active else { throw JoinKeyError.over(before.state) }
            let after = try JoinKeyObject(
                query(
                    """
                    UPDATE join_keys SET revoked_at = now() WHERE project_id IS NOT DISTINCT FROM \(owner) AND id = \(id)
                    RETURNING \(trusted: JoinKeyObject.columns)
                    """)[0])
            try log(AuditEntry(action: "join_key.revoke", target: ("join_key", id.description), before: before, after: after), by: actor)
            return after
        }
    }

    /// Tiers as they are stored: dedicated ones as the shared ones of their vendor (05 §22).
    func storedTiers(_ slugs: [String]) throws -> [String] {
        let stored = slugs.map { slug in
            slug.hasPrefix("gpu_") && slug.hasSuffix("_dedicated") ? slug.replacing("_dedicated", with: "_shared") : slug
        }
        let known = Set(
            try query("SELECT slug FROM service_tiers WHERE slug = ANY (\(stored)::text[])").map { try $0.get("slug", as: String.self) })
        for (given, slug) in zip(slugs, stored) where !known.contains(slug) { throw JoinKeyError.noSuchTier(given) }
        return stored
    }
}

/// Join keys of a project, as its managers see them.
extension TenantConnection {
    /// Makes a key and stores its digest; its value is only in the answer.
    /// - Parameter timeScale: what its lifetime is multiplied by, in tests.
    public func createJoinKey(_ new: NewJoinKey, timeScale: Double = 1, by actor: AuditActor) throws -> JoinKeyObject {
        try transaction {
            try requireManager(actor)
            // Two at once would otherwise both find the last place free.
            let slug: String = try query("SELECT slug FROM projects WHERE id = \(project) FOR UPDATE")[0].get("slug")
            let live: Int = try query(
                """
                SELECT count(*) AS live FROM join_keys
                WHERE project_id = \(project) AND consumed_at IS NULL AND revoked_at IS NULL AND expires_at > now()
                """)[0].get("live")
            guard live < JoinKeyError.mostLive else { throw JoinKeyError.tooMany }
            return try makeJoinKey(new, slug: slug, timeScale: timeScale, by: actor)
        }
    }

    public func joinKey(_ id: ID<JoinKey>, for actor: AuditActor) throws -> JoinKeyObject {
        try requireManager(actor)
        let rows = try query("SELECT \(trusted: JoinKeyObject.columns) FROM join_keys WHERE project_id = \(project) AND id = \(id)")
        guard let row = rows.first else { throw JoinKeyError.noSuchKey }
        return try JoinKeyObject(row)
    }

    /// - Parameter state: nil = all.
    public func joinKeys(_ list: ListQuery = ListQuery(), state: JoinKeyObject.State? = nil, for actor: AuditActor) throws -> ListPage<
        JoinKeyObject
    > {
        try requireManager(actor)
        try list.checkCursors { cursor in try query("SELECT 1 FROM join_keys WHERE project_id = \(project) AND id = \(cursor)") }
        return list.page(
            try query(
                """
                SELECT \(trusted: JoinKeyObject.columns) FROM join_keys
                WHERE project_id = \(project)
                    AND (\(state?.rawValue)::text IS NULL OR \(state?.rawValue) = CASE WHEN consumed_at IS NOT NULL THEN 'consumed'
                        WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'active' END)
                    \(page: list, of: "join_keys", in: project)
                """
            ).map(JoinKeyObject.init))
    }

    /// Nobody can enrol with it any more; an agent that has is not touched.
    public func revokeJoinKey(_ id: ID<JoinKey>, by actor: AuditActor) throws {
        try requireManager(actor)
        _ = try endJoinKey(id, by: actor)
    }
}
