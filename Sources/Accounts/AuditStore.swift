import OpenAI
import Postgres
import Server
import Tenancy

/// Which lines of the audit log are wanted; nil = all.
struct AuditFilter: Sendable, Equatable {
    var action: String?
    /// `user_…`, `key_…`, or the name of one of our programs.
    var actor: String?
    /// Unix seconds, from this one on.
    var from: Int?
    /// Unix seconds, before this one.
    var to: Int?
}

/// A line of the audit log, as JSON.
struct AuditLine: Sendable {
    var id: String
    var json: [UInt8]
}

extension TenantConnection {
    /// The newest lines first, in the order of the chain. Only owners and admins may read them (08 §1).
    func auditLines(_ list: ListQuery, _ filter: AuditFilter, for actor: AuditActor) throws -> ListPage<AuditLine> {
        if try keyAuthority(of: actor).onlyUser != nil { throw AccountError.permissionDenied("A member cannot read the audit log.") }
        let after = try place(of: list.after, "after")
        let before = try place(of: list.before, "before")
        return list.page(
            try query(
                """
                SELECT id, json_build_object('id', id, 'object', 'audit_entry', 'seq', seq, 'at', extract(epoch FROM at)::bigint,
                    'actor_type', actor_type, 'actor_id', actor_id, 'action', action, 'target_type', target_type, 'target_id', target_id,
                    'ip', ip, 'user_agent', user_agent, 'request_id', request_id, 'before', before, 'after', after,
                    'prev_hash', encode(prev_hash, 'hex'), 'hash', encode(hash, 'hex')) AS line
                FROM audit_log
                WHERE project_id = \(project)
                    AND (\(filter.action)::text IS NULL OR action = \(filter.action))
                    AND (\(filter.actor)::text IS NULL OR actor_id = \(filter.actor))
                    AND (\(filter.from)::bigint IS NULL OR at >= to_timestamp(\(filter.from)))
                    AND (\(filter.to)::bigint IS NULL OR at < to_timestamp(\(filter.to)))
                    AND (\(after)::bigint IS NULL OR seq \(trusted: list.afterSide) \(after))
                    AND (\(before)::bigint IS NULL OR seq \(trusted: list.beforeSide) \(before))
                ORDER BY seq \(trusted: list.direction) LIMIT \(list.rows)
                """
            ).map { AuditLine(id: try $0.get("id"), json: try $0.get("line")) })
    }

    private func place(of cursor: String?, _ name: String) throws -> Int? {
        guard let cursor else { return nil }
        guard let row = try query("SELECT seq FROM audit_log WHERE project_id = \(project) AND id = \(cursor)").first else {
            throw ListQuery.badCursor(name)
        }
        return try row.get("seq")
    }
}

/// What a check of the chains found.
public struct AuditVerdict: Sendable, Encodable, Equatable {
    /// A place in a chain that is not as it was written.
    public struct Fault: Sendable, Encodable, Equatable {
        /// The project's identifier, or `platform`.
        public var chain: String
        public var seq: Int
        /// `altered`: the row is not what its hash says; `unlinked`: it does not follow the row before it; `missing`: there is no such row,
        /// though one after it, or the chain's head, says that there was.
        public var problem: String

        package init(chain: String, seq: Int, problem: String) {
            self.chain = chain
            self.seq = seq
            self.problem = problem
        }
    }

    public var chains: Int
    public var rows: Int
    public var faults: [Fault]
    public var isIntact: Bool { faults.isEmpty }

    package init(chains: Int, rows: Int, faults: [Fault]) {
        self.chains = chains
        self.rows = rows
        self.faults = faults
    }
}

extension SystemConnection {
    /// Removes lines that are older than 400 days, by whole months of UTC, so many at most. What is kept can still be verified.
    /// - Parameter now: unix seconds.
    /// - Returns: how many are removed.
    public func trimAudit(now: Int, most: Int) throws -> Int {
        try query("SELECT trim_audit_log(date_trunc('month', to_timestamp(\(now)) - interval '400 days', 'UTC'), \(most)) AS lines")[0]
            .get("lines")
    }

    /// Recomputes the chain of a project, or of all projects and the platform, from the rows.
    public func verifyAudit(of project: ID<Project>? = nil) throws -> AuditVerdict {
        let chain = project?.description
        let counts = try query(
            """
            SELECT (SELECT count(*) FROM audit_heads WHERE \(chain)::text IS NULL OR chain = \(chain)) AS chains,
                (SELECT count(*) FROM audit_log WHERE \(chain)::text IS NULL OR project_id = \(chain)) AS rows
            """)[0]
        let faults = try query(
            """
            WITH links AS (
                SELECT COALESCE(project_id, 'platform') AS chain, seq, prev_hash, hash,
                    sha256(prev_hash || convert_to(audit_canonical(a), 'UTF8')) AS computed
                FROM audit_log a WHERE \(chain)::text IS NULL OR project_id = \(chain)
            ), ends AS (
                -- The head follows the last row, as each row follows the one before; the kept part follows what was trimmed.
                SELECT chain, seq, prev_hash, hash, computed = hash AS is_true FROM links
                UNION ALL
                SELECT chain, seq + 1, hash, NULL, true FROM audit_heads WHERE \(chain)::text IS NULL OR chain = \(chain)
            ), pairs AS (
                SELECT e.chain, e.seq, e.is_true, e.prev_hash,
                    COALESCE(lag(e.seq) OVER w, h.trimmed_seq) AS seq_before, COALESCE(lag(e.hash) OVER w, h.trimmed_hash) AS hash_before
                FROM ends e LEFT JOIN audit_heads h USING (chain)
                WINDOW w AS (PARTITION BY e.chain ORDER BY e.seq)
            )
            SELECT chain, seq, CASE WHEN NOT is_true THEN 'altered' WHEN seq <> seq_before + 1 THEN 'missing' ELSE 'unlinked' END AS problem,
                CASE WHEN is_true AND seq > seq_before + 1 THEN seq_before + 1 ELSE seq END AS place
            FROM pairs
            WHERE NOT is_true OR seq_before IS NULL OR seq <> seq_before + 1 OR prev_hash IS DISTINCT FROM hash_before
            ORDER BY chain, seq LIMIT 100
            """
        ).map {
            AuditVerdict.Fault(chain: try $0.get("chain"), seq: try $0.get("place"), problem: try $0.get("problem"))
        }
        return AuditVerdict(chains: try counts.get("chains"), rows: try counts.get("rows"), faults: faults)
    }
}
