import OpenAI
import Postgres
import Server
import Tenancy

/// The ledger in Postgres (08 §6). Its rules are those of the functions `ledger_…` in infra/postgres; here is how they are called.
public struct Ledger: Sendable {
    let database: SystemDatabase
    private let holdSeconds: Double

    /// - Parameter timeScale: shortens the life of holds in tests.
    public init(database: SystemDatabase, timeScale: Double = 1) {
        self.database = database
        holdSeconds = 60 * timeScale
    }

    /// Posts money that comes, goes or is put right, once for each key.
    public func post(_ posting: LedgerPosting) throws -> LedgerPosted { try database.withConnection { try $0.post(posting) } }

    /// Posts what an operator decided, with its line in the audit log.
    public func postByHand(_ posting: LedgerPosting) throws -> LedgerPosted {
        try database.transaction { connection in
            let posted = try connection.post(posting)
            if posted.isNew {
                let entry = try AuditEntry(
                    action: "ledger.\(posting.kind.rawValue)", target: ("ledger_transaction", posted.id.description),
                    after: ["amount": NanoUSD.text(posting.amount), "key": posting.key])
                try connection.audit(entry, of: posting.project, by: .system(posting.author ?? "system"))
            }
            return posted
        }
    }

    /// Gives back what expired holds have left, up to `most` of them; answers how many it ended. Several callers share the work.
    public func expireHolds(most: Int) throws -> Int {
        try database.withConnection { try $0.query("SELECT ledger_expire(\(most)::integer) AS ended")[0].get("ended") }
    }
}

/// What the ledger refuses, in its own words.
private func mapping<Value>(_ body: () throws -> Value) throws -> Value {
    do {
        return try body()
    } catch let error as PostgresError {
        guard case .server(let message) = error, let refusal = LedgerError(message) else { throw error }
        throw refusal
    }
}

extension SystemConnection {
    /// Posts in the caller's transaction, together with what it belongs to; once for each key.
    func post(_ posting: LedgerPosting) throws -> LedgerPosted {
        try mapping {
            let row = try query(
                """
                SELECT id, is_new FROM ledger_post(\(posting.kind.rawValue), \(posting.project), \(posting.amount)::bigint, \(posting.key),
                    \(posting.reference), \(posting.memo), \(posting.author), \(posting.isManual))
                """)[0]
            return LedgerPosted(id: try row.get("id"), isNew: try row.get("is_new"))
        }
    }
}

extension Ledger: CreditSource {
    public func hold(
        _ id: ID<CreditHold>, kind: CreditHoldKind, of project: ID<Project>, gateway: String, want: Int64, atLeast: Int64, key: String
    ) throws -> CreditGrant {
        try mapping {
            let row = try database.withConnection { connection in
                try connection.query(
                    """
                    SELECT granted, available, budget, budget_ends FROM ledger_hold(\(id), \(kind.name), \(kind.requestID), \(project),
                        \(gateway), \(want)::bigint, \(atLeast)::bigint, \(key), \(holdSeconds)::double precision, \(kind.endpoint), \(kind.key))
                    """)[0]
            }
            let limit = try row.optional("budget", as: ID<Budget>.self).map { BudgetLimit(budget: $0, endsAt: try row.get("budget_ends")) }
            return CreditGrant(granted: try row.get("granted"), available: try row.get("available"), limit: limit)
        }
    }

    public func renew(_ ids: [ID<CreditHold>]) throws -> [ID<CreditHold>] {
        guard !ids.isEmpty else { return [] }
        return try database.withConnection { connection in
            try connection.query(
                "SELECT id FROM ledger_renew(\(ids.map(\.description))::text[], \(holdSeconds)::double precision) id"
            ).map { try $0.get("id") }
        }
    }

    public func scopedCaps(of project: ID<Project>) throws -> ScopedCaps {
        try database.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT p.budget_generation, b.id IS NOT NULL AS is_cap, coalesce(b.endpoint_ids, '{}') AS endpoints,
                    coalesce(b.api_key_ids, '{}') AS keys
                FROM projects p LEFT JOIN budgets b ON b.project_id = p.id AND b.hard_cap AND b.deleted_at IS NULL
                    AND (b.endpoint_ids <> '{}' OR b.api_key_ids <> '{}')
                WHERE p.id = \(project)
                """)
            let scopes = try rows.filter { try $0.get("is_cap") }.map { row in
                ScopedCaps.Scope(endpoints: Set(try row.texts("endpoints")), keys: Set(try row.texts("keys")))
            }
            return ScopedCaps(generation: try rows.first?.get("budget_generation") ?? 0, scopes: scopes)
        }
    }

    public func release(_ id: ID<CreditHold>) throws {
        try database.withConnection { _ = try $0.query("SELECT ledger_release(\(id))") }
    }
}
