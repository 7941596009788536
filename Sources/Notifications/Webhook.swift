import Jobs
import OpenAI
import Postgres

/// A server that wants to know of events: a row of `webhooks`.
public enum Webhook: Identified { public static let idPrefix = "whk_" }

/// One event on its way to one webhook: a row of `webhook_deliveries`.
public enum WebhookDelivery: Identified { public static let idPrefix = "dlv_" }

/// What a project says of a webhook.
public struct WebhookSettings: Sendable, Equatable {
    public var url: String
    /// Types, families such as `file.*`, or `*`.
    public var events: [String]
    public var name: String?
    public var description: String?
    public var metadata: [String: String] = [:]
    public var isActive = true

    public init(url: String, events: [String]) {
        self.url = url
        self.events = events
    }
}

/// What shall be changed; nil = as it is.
public struct WebhookChange: Sendable, Equatable {
    public var url: String?
    public var events: [String]?
    /// Inner nil = none.
    public var name: String??
    public var description: String??
    public var metadata: [String: String]?
    public var isActive: Bool?

    public init() {}
}

public enum WebhookError: APIErrorConvertible, Equatable {
    case noSuchWebhook
    case noSuchDelivery
    case tooMany
    case tooManyTests(retryAfter: Int)
    case changed(to: Int64)
    case inactive

    public var apiError: APIError {
        switch self {
        case .noSuchWebhook: APIError(.webhookNotFound, "There is no such webhook.")
        case .noSuchDelivery: APIError(.notFound, "The webhook has no such delivery.")
        case .tooMany:
            APIError(.quotaExceeded, "A project has at most \(WebhookRules.mostWebhooks) webhooks. Delete one first.", strategy: .quota)
        case .tooManyTests(let seconds):
            APIError(
                .rateLimitExceeded, "A webhook can be tested \(WebhookRules.testsPerHour) times an hour.", retryAfter: seconds,
                strategy: .rate(refillMilliseconds: seconds * 1_000))
        case .changed(let generation):
            APIError(.versionConflict, "The webhook has changed: its generation is \(generation) now. Read it again.", param: "If-Match")
        case .inactive: APIError(.conflict, "The webhook is not active. Set 'active' to true first.", param: "active")
        }
    }
}

enum WebhookRules {
    static let mostWebhooks = 20
    static let testsPerHour = 10
    static let secretKind = "webhook-secret"
    /// How long the secret before signs too, in seconds.
    static let overlap = 86_400.0

    /// What `events` may name: types, families, all, and the older name of one.
    static let known: Set<String> = Set(
        EventType.allCases.flatMap { [$0.rawValue, $0.rawValue.prefix { $0 != "." } + ".*"] } + ["*", "exec.started"])
}
