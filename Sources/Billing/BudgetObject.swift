import OpenAI
import Postgres

/// A budget as it is shown, with how its present period stands.
public struct BudgetObject: Sendable, Encodable, Identifiable {
    public var id: ID<Budget>
    public var settings: BudgetSettings
    /// Nano-USD in the present period.
    public var spentNano: Int64
    /// Unix seconds, as all times here.
    public var periodStart: Int
    public var periodEnd: Int
    public var createdAt: Int
    public var updatedAt: Int
    /// What calls of `webhook_url` are signed with; in the answer that makes it alone.
    public var webhookSecret: String?

    private enum CodingKeys: String, CodingKey {
        case id, object, spent
        case webhookSecret = "webhook_secret"
        case spentCents = "spent_cents"
        case periodStart = "period_start"
        case periodEnd = "period_end"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode("budget", forKey: .object)
        try settings.encode(to: encoder)
        try container.encode(NanoUSD.text(spentNano), forKey: .spent)
        try container.encode(spentNano / NanoUSD.perCent, forKey: .spentCents)
        try container.encode(periodStart, forKey: .periodStart)
        try container.encode(periodEnd, forKey: .periodEnd)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(updatedAt, forKey: .updatedAt)
        try container.encodeIfPresent(webhookSecret, forKey: .webhookSecret)
    }
}

/// One firing of a threshold.
public enum BudgetAlert: Identified { public static let idPrefix = "alert_" }

/// A firing as it is shown: the body of its event (08 §8), and its identifier.
public struct BudgetAlertObject: Sendable, Encodable, Identifiable {
    public var id: ID<BudgetAlert>
    public var object = "budget.alert"
    public var budgetID: String
    public var budgetName: String
    public var projectID: String
    public var threshold: Int
    public var spentCents: Int
    public var budgetCents: Int
    public var periodStart: Int
    public var periodEnd: Int
    public var isHardCap: Bool
    public var firedAt: Int

    private enum CodingKeys: String, CodingKey {
        case id, object, threshold
        case budgetID = "budget_id"
        case budgetName = "budget_name"
        case projectID = "project_id"
        case spentCents = "spent_cents"
        case budgetCents = "budget_cents"
        case periodStart = "period_start"
        case periodEnd = "period_end"
        case isHardCap = "hard_cap"
        case firedAt = "fired_at"
    }
}

/// The answer to a check: how many budgets were looked at, and which thresholds it fired.
struct BudgetCheck: Encodable {
    var object = "budget.check"
    var checked: Int
    var fired: [BudgetAlertObject]
}

/// The answer to a deletion.
struct DeletedBudget: Encodable {
    var id: ID<Budget>
    var object = "budget.deleted"
    var deleted = true
}

extension BudgetObject {
    /// Over `budgets b`, `budget_spending s` of the present period, and its `now`.
    static let columns = """
        b.id, b.name, b.amount_cents, b.period, b.endpoint_ids, b.api_key_ids, b.thresholds::text[] AS thresholds, b.alert_channels, b.webhook_url,
        b.hard_cap, b.cap_percent, coalesce(s.spent_nano, 0) AS spent_nano,
        extract(epoch FROM budget_period_start(b.period, now.at))::bigint AS period_start,
        extract(epoch FROM budget_period_end(b.period, now.at))::bigint AS period_end,
        extract(epoch FROM b.created_at)::bigint AS created_at, extract(epoch FROM b.updated_at)::bigint AS updated_at
        """
    static let source = """
        (SELECT budget_clock() AS at OFFSET 0) now, budgets b
        LEFT JOIN LATERAL (SELECT p.spent_nano FROM budget_spending p
            WHERE p.budget_id = b.id AND p.project_id = b.project_id AND p.period_start = budget_period_start(b.period, now.at)) s ON true
        """

    init(_ row: Row) throws {
        id = try row.get("id")
        settings = BudgetSettings(name: try row.get("name"), amountCents: try row.get("amount_cents"))
        settings.period = BudgetSettings.Period(rawValue: try row.get("period")) ?? .monthly
        settings.scope.endpoints = try row.texts("endpoint_ids")
        settings.scope.keys = try row.texts("api_key_ids")
        settings.thresholds = try row.texts("thresholds").compactMap { Int($0) }
        settings.channels = try row.texts("alert_channels").compactMap(BudgetSettings.Channel.init)
        settings.webhookURL = try row.optional("webhook_url")
        settings.isHardCap = try row.get("hard_cap")
        settings.capPercent = try row.get("cap_percent")
        spentNano = try row.get("spent_nano")
        periodStart = try row.get("period_start")
        periodEnd = try row.get("period_end")
        createdAt = try row.get("created_at")
        updatedAt = try row.get("updated_at")
    }
}

extension BudgetAlertObject {
    static let columns = """
        id, budget_id, budget_name, project_id, threshold, spent_nano / 10000000 AS spent_cents, amount_cents,
        extract(epoch FROM period_start)::bigint AS period_start, extract(epoch FROM period_end)::bigint AS period_end, hard_cap,
        extract(epoch FROM fired_at)::bigint AS fired_at
        """

    init(_ row: Row) throws {
        id = try row.get("id")
        budgetID = try row.get("budget_id")
        budgetName = try row.get("budget_name")
        projectID = try row.get("project_id")
        threshold = try row.get("threshold")
        spentCents = try row.get("spent_cents")
        budgetCents = try row.get("amount_cents")
        periodStart = try row.get("period_start")
        periodEnd = try row.get("period_end")
        isHardCap = try row.get("hard_cap")
        firedAt = try row.get("fired_at")
    }
}
