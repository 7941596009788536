import OpenAI
import Postgres
import Tenancy

/// What `billing verify` found.
public struct LedgerVerification: Sendable {
    public struct Violation: Sendable, Equatable {
        /// 1 to 7, as in 08 §6.
        public var invariant: Int
        /// nil = the platform's.
        public var project: String?
        public var text: String
    }

    public var violations: [Violation]
    public var transactions: Int
    public var entries: Int
    public var holds: Int
    public var openHolds: Int
}

extension Ledger {
    /// Checks all invariants against one moment's state of the ledger. A project with a violation takes no more manual postings.
    ///
    /// It reads everything; the database should allow it minutes.
    public func verify() throws -> LedgerVerification {
        try database.withConnection { connection in
            let found = try connection.transaction {
                try connection.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                let counts = try connection.query(
                    """
                    SELECT (SELECT count(*) FROM ledger_transactions) AS transactions, (SELECT count(*) FROM ledger_entries) AS entries,
                        count(*) AS holds, count(*) FILTER (WHERE state = 'open') AS open_holds FROM ledger_holds
                    """)[0]
                let violations = try LedgerInvariant.all.flatMap { try $0.violations(on: connection) }
                return LedgerVerification(
                    violations: violations, transactions: try counts.get("transactions"), entries: try counts.get("entries"),
                    holds: try counts.get("holds"), openHolds: try counts.get("open_holds"))
            }
            let projects = Set(found.violations.compactMap(\.project))
            if !projects.isEmpty {
                try connection.query(
                    "UPDATE projects SET ledger_frozen = true WHERE id = ANY (\(projects.sorted())::text[]) AND NOT ledger_frozen")
            }
            return found
        }
    }
}

/// One rule that the ledger keeps (08 §6), and the query that finds where it does not.
package struct LedgerInvariant {
    package let number: Int
    /// Answers `project` (or NULL) and `text`.
    package let query: SQL

    /// More than this of one kind tells nothing new.
    private static let most = 100

    func violations(on connection: SystemConnection) throws -> [LedgerVerification.Violation] {
        let rows = try connection.query(SQL("SELECT project, text FROM (\(query.text)) v LIMIT \(Self.most)", values: []))
        return try rows.map { row in
            LedgerVerification.Violation(invariant: number, project: try row.optional("project"), text: try row.get("text"))
        }
    }

    package static let all: [LedgerInvariant] = [
        LedgerInvariant(
            number: 1,
            query: """
                SELECT t.project_id AS project, 'the entries of ' || coalesce(t.id, e.tx_id) || ' sum to ' || coalesce(e.sum::text, 'nothing')
                    || CASE WHEN t.id IS NULL THEN ', and there is no such transaction' ELSE '' END AS text
                FROM ledger_transactions t FULL JOIN (SELECT tx_id, sum(amount_nano) AS sum FROM ledger_entries GROUP BY tx_id) e ON e.tx_id = t.id
                WHERE t.id IS NULL OR e.sum IS DISTINCT FROM 0
                """),
        LedgerInvariant(
            number: 2,
            query: """
                SELECT a.project_id AS project,
                    'the balance of account ' || coalesce(a.id, e.account_id) || ' is ' || coalesce(a.balance_nano::text, 'nowhere')
                    || ', its entries sum to ' || coalesce(e.sum, 0) AS text
                FROM ledger_accounts a
                FULL JOIN (SELECT account_id, sum(amount_nano) AS sum FROM ledger_entries GROUP BY account_id) e ON e.account_id = a.id
                WHERE a.balance_nano IS DISTINCT FROM coalesce(e.sum, 0)
                """),
        LedgerInvariant(
            number: 3,
            query: """
                SELECT project_id AS project, 'the balance of account ' || id || ' is ' || balance_nano || ', below -' || allow_negative_to_nano AS text
                FROM ledger_accounts WHERE balance_nano < -allow_negative_to_nano
                """),
        LedgerInvariant(
            number: 4,
            query: """
                SELECT a.project_id AS project, a.balance_nano || ' is held, the open holds sum to ' || coalesce(h.sum, 0) AS text
                FROM ledger_accounts a
                LEFT JOIN (
                    SELECT project_id, sum(amount_nano - settled_nano) AS sum FROM ledger_holds WHERE state = 'open' GROUP BY project_id) h
                USING (project_id)
                WHERE a.kind = 'held' AND a.balance_nano <> coalesce(h.sum, 0)
                """),
        LedgerInvariant(
            number: 5,
            query: """
                SELECT min(project_id) AS project, 'the key ' || idempotency_key || ' is there ' || count(*) || ' times' AS text
                FROM ledger_transactions GROUP BY idempotency_key HAVING count(*) > 1
                """),
        LedgerInvariant(
            number: 6,
            query: """
                SELECT NULL::text AS project, 'all accounts sum to ' || sum(balance_nano) AS text FROM ledger_accounts HAVING sum(balance_nano) <> 0
                """),
        // Usage rows live for 90 days, transactions forever; and there were rows before there was a ledger.
        LedgerInvariant(
            number: 7,
            query: """
                SELECT coalesce(u.project_id, t.project_id) AS project,
                    CASE WHEN u.id IS NULL THEN 'the settlement ' || t.id || ' has no usage row'
                    WHEN t.id IS NULL THEN 'the usage row ' || u.id || ' costs ' || u.cost_nano || ' and is not settled'
                    ELSE 'the usage row ' || u.id || ' costs ' || u.cost_nano || ', ' || t.id || ' settles ' || coalesce(t.paid::text, 'nothing') END AS text
                FROM (
                    SELECT id, project_id, cost_nano, ledger_tx_id FROM usage_events
                    WHERE cost_nano > 0 AND created_at >= (SELECT min(created_at) FROM ledger_accounts)) u
                FULL JOIN (
                    SELECT t.id, t.project_id, t.created_at, (SELECT sum(e.amount_nano) FROM ledger_entries e JOIN ledger_accounts a
                        ON a.id = e.account_id AND a.kind = 'revenue' WHERE e.tx_id = t.id) AS paid
                    FROM ledger_transactions t WHERE t.kind = 'settle') t
                ON t.id = u.ledger_tx_id
                WHERE t.id IS NULL OR (u.id IS NULL AND t.created_at > now() - interval '89 days')
                    OR (u.id IS NOT NULL AND t.paid IS DISTINCT FROM u.cost_nano)
                """),
    ]
}
