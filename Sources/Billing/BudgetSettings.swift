import HTTPClient
import JSON
import OpenAI
import Server

/// What a client says of a budget (08 §8). Amounts are whole cents.
public struct BudgetSettings: Sendable, Equatable, Encodable {
    public enum Period: String, Sendable, CaseIterable, Encodable { case monthly, weekly, daily }
    public enum Channel: String, Sendable, CaseIterable, Encodable { case email, webhook }

    /// Empty = all.
    public struct Scope: Sendable, Equatable, Encodable {
        public var endpoints: [String] = []
        public var keys: [String] = []

        public init() {}

        private enum CodingKeys: String, CodingKey {
            case endpoints = "endpoint_ids"
            case keys = "api_key_ids"
        }
    }

    public var name: String
    public var amountCents: Int
    public var period = Period.monthly
    public var scope = Scope()
    /// Per cent of the amount, in order.
    public var thresholds = [50, 75, 90, 100]
    public var channels = [Channel.email]
    public var webhookURL: String?
    public var isHardCap = false
    public var capPercent = 100

    public init(name: String, amountCents: Int) {
        self.name = name
        self.amountCents = amountCents
    }

    /// A billion dollars.
    static let amounts = 1...100_000_000_000
    static let mostScopeIDs = 100

    private enum CodingKeys: String, CodingKey {
        case name, period, scope, thresholds
        case amountCents = "budget_amount"
        case channels = "alert_channels"
        case webhookURL = "webhook_url"
        case isHardCap = "hard_cap"
        case capPercent = "cap_percent"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encode(amountCents, forKey: .amountCents)
        try container.encode(period, forKey: .period)
        try container.encode(scope, forKey: .scope)
        try container.encode(thresholds, forKey: .thresholds)
        try container.encode(channels, forKey: .channels)
        try container.encode(webhookURL, forKey: .webhookURL)
        try container.encode(isHardCap, forKey: .isHardCap)
        try container.encode(capPercent, forKey: .capPercent)
    }

    /// Where alerts are sent beside the project's webhooks.
    var calledURL: String? { channels.contains(.webhook) ? webhookURL : nil }

    /// For the audit log: paths and queries of webhooks' URLs are often secret.
    var audited: BudgetSettings {
        var settings = self
        settings.webhookURL = webhookURL.map { url in
            (try? OutboundURL(url)).map { "\($0.scheme)://\($0.authority)/…" } ?? "…"
        }
        return settings
    }
}

/// Reads the bodies of budgets. Each bad member is a 400 that names it.
package enum BudgetBodies {
    /// What an answer shows beside the settings: who sends an answer back is not refused for it.
    private static let shown: Set = [
        "id", "object", "spent", "spent_cents", "period_start", "period_end", "created_at", "updated_at", "webhook_secret",
    ]
    private static let settings: Set = [
        "name", "budget_amount", "period", "scope", "thresholds", "alert_channels", "webhook_url", "hard_cap", "cap_percent",
    ]

    package static func read(_ root: JSONElement, _ outbound: OutboundGuard) throws -> BudgetSettings {
        // A misspelt cap would be no cap.
        try Fields.refuseMembers(of: root, "", except: settings.union(shown))
        guard let name = value(root["name"]) else { throw APIError.missing("name") }
        guard let amount = value(root["budget_amount"]) else { throw APIError.missing("budget_amount") }
        var budget = BudgetSettings(
            name: try self.name(name), amountCents: try Fields.integer(amount, "budget_amount", in: BudgetSettings.amounts))
        if let period = value(root["period"]) { budget.period = try choice(period, "period") }
        if let scope = value(root["scope"]) { budget.scope = try self.scope(scope) }
        if let thresholds = value(root["thresholds"]) { budget.thresholds = try self.thresholds(thresholds) }
        if let channels = value(root["alert_channels"]) { budget.channels = try self.channels(channels) }
        if let url = value(root["webhook_url"]) { budget.webhookURL = try self.url(url, outbound) }
        if budget.channels.contains(.webhook), budget.webhookURL == nil { throw APIError.missing("webhook_url") }
        if let cap = value(root["hard_cap"]) { budget.isHardCap = try Fields.bool(cap, "hard_cap") }
        if let percent = value(root["cap_percent"]) { budget.capPercent = try Fields.integer(percent, "cap_percent", in: 100...200) }
        return budget
    }

    /// null is the same as absent (01 §6).
    private static func value(_ element: JSONElement?) -> JSONElement? { element.flatMap { $0.isNull ? nil : $0 } }

    private static func name(_ element: JSONElement) throws -> String {
        let name = try Fields.string(element, "name", atMost: 64)
        guard !name.allSatisfy(\.isWhitespace), name.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
            throw APIError.invalid("name", "A budget's name has 1 to 64 characters, no control characters, and is not blank.")
        }
        return name
    }

    private static func scope(_ element: JSONElement) throws -> BudgetSettings.Scope {
        try Fields.object(element, "scope")
        try Fields.refuseMembers(of: element, "scope.", except: ["endpoint_ids", "api_key_ids"])
        var scope = BudgetSettings.Scope()
        if let ids = value(element["endpoint_ids"]) { scope.endpoints = try self.ids(ids, "scope.endpoint_ids") }
        if let ids = value(element["api_key_ids"]) { scope.keys = try self.ids(ids, "scope.api_key_ids") }
        return scope
    }

    private static func ids(_ element: JSONElement, _ name: String) throws -> [String] {
        try Fields.array(element, name)
        let ids = try element.elements.enumerated().map { try Fields.string($1, "\(name)[\($0)]", atMost: 64) }
        guard ids.count <= BudgetSettings.mostScopeIDs else {
            throw APIError.invalid(name, "'\(name)' has at most \(BudgetSettings.mostScopeIDs) identifiers.")
        }
        return unique(ids)
    }

    private static func thresholds(_ element: JSONElement) throws -> [Int] {
        try Fields.array(element, "thresholds")
        let thresholds = try element.elements.enumerated().map { try Fields.integer($1, "thresholds[\($0)]", in: 1...100) }
        guard thresholds.count <= 10 else { throw APIError.invalid("thresholds", "A budget has at most 10 thresholds.") }
        return unique(thresholds).sorted()
    }

    private static func channels(_ element: JSONElement) throws -> [BudgetSettings.Channel] {
        try Fields.array(element, "alert_channels")
        return unique(try element.elements.enumerated().map { try choice($1, "alert_channels[\($0)]") })
    }

    /// What only the name's resolution tells is checked when the webhook is called.
    private static func url(_ element: JSONElement, _ outbound: OutboundGuard) throws -> String {
        let text = try Fields.string(element, "webhook_url", atMost: 2_048)
        do throws(OutboundRefusal) {
            _ = try outbound.check(text)
        } catch {
            throw error.apiError(param: "webhook_url")
        }
        return text
    }

    private static func choice<Value: RawRepresentable & CaseIterable>(_ element: JSONElement, _ name: String) throws -> Value
    where Value.RawValue == String {
        let text = try Fields.choice(element, name, of: Value.allCases.map(\.rawValue))
        guard let value = Value(rawValue: text) else { throw APIError.invalid(name, "'\(name)' is unknown.") }
        return value
    }

    private static func unique<Value: Hashable>(_ values: [Value]) -> [Value] {
        var seen: Set<Value> = []
        return values.filter { seen.insert($0).inserted }
    }
}
