import Mail
import OpenAI
import Postgres
import Tenancy

/// What the worker does for budgets (08 §8). Several workers share it, and what one has done no other does again.
public struct BudgetWork: Sendable {
    private let database: SystemDatabase

    public init(database: SystemDatabase) { self.database = database }

    /// Fires thresholds that are reached and that no settlement has fired; answers how many.
    public func check() throws -> Int {
        try database.withConnection { try $0.query("SELECT budget_check() AS fired")[0].get("fired") }
    }

    /// Writes the mails of what has fired, to the owners and admins of the projects; answers how many alerts that were.
    public func writeMails(most: Int = 100) throws -> Int {
        try database.transaction { connection in
            let rows = try connection.query(
                """
                SELECT h.id, h.budget_id, h.budget_name, h.project_id, p.slug, h.threshold, h.spent_nano, h.amount_cents, h.hard_cap,
                    to_char(h.period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS first, to_char(h.period_end AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS after
                FROM budget_history h JOIN projects p ON p.id = h.project_id
                WHERE h.is_mail_due ORDER BY h.fired_at LIMIT \(most) FOR UPDATE OF h SKIP LOCKED
                """)
            for row in rows { try writeMails(of: row, on: connection) }
            let ids = try rows.map { try $0.get("id", as: String.self) }
            try connection.query("UPDATE budget_history SET is_mail_due = false WHERE id = ANY (\(ids)::text[])")
            return rows.count
        }
    }

    private func writeMails(of alert: Row, on connection: SystemConnection) throws {
        let project: ID<Project> = try alert.get("project_id")
        let people = try connection.query(
            """
            SELECT u.id, u.email FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.project_id = \(project) AND m.role IN ('owner', 'admin') ORDER BY u.id
            """)
        guard !people.isEmpty else { return }
        let mail = try BudgetMail(alert)
        for person in people {
            let key = "budget:\(try alert.get("id", as: String.self)):\(try person.get("id", as: String.self))"
            try connection.queueMail(to: try person.get("email"), subject: mail.subject, body: mail.body, key: key, of: project)
        }
    }
}

/// The words of an alert.
struct BudgetMail {
    var subject: String
    var body: String

    init(_ row: Row) throws {
        let name: String = try row.get("budget_name")
        let slug: String = try row.get("slug")
        let threshold: Int = try row.get("threshold")
        let amount = NanoUSD.text(try row.get("amount_cents", as: Int64.self) * NanoUSD.perCent)
        let spent = NanoUSD.text(try row.get("spent_nano"))
        subject = "\(slug): \(threshold) % of the budget \"\(name)\" is spent"
        body = """
            The budget "\(name)" of the project \(slug) has reached \(threshold) %: \(spent) of \(amount) USD are spent.

            Period: from \(try row.get("first", as: String.self)) until before \(try row.get("after", as: String.self)) (UTC)
            Hard cap: \(try row.get("hard_cap", as: Bool.self) ? "yes, requests beyond it are refused" : "no")
            Budget: \(try row.get("budget_id", as: String.self))

            You get this mail as an owner or admin of the project. Each threshold is told once in a period.

            """.replacing("\n", with: "\r\n")
    }
}
