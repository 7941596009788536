import Foundation
import OpenAI
import Postgres

/// A webhook as it is shown.
public struct WebhookObject: Sendable, Encodable, Identifiable {
    public var id: ID<Webhook>
    public var settings: WebhookSettings
    public var disabledReason: String?
    public var secretHint: String
    /// Unix seconds, as all times here.
    public var previousSecretExpiresAt: Int?
    public var failingSince: Int?
    public var generation: Int64
    public var createdAt: Int
    public var updatedAt: Int
    /// In the answers to create and rotate alone.
    public var secret: String?

    private enum CodingKeys: String, CodingKey {
        case id, object, url, events, name, description, metadata, active, generation, secret
        case eventTypes = "event_types"
        case disabledReason = "disabled_reason"
        case signingSecret = "signing_secret"
        case secretHint = "secret_hint"
        case signingSecretHint = "signing_secret_hint"
        case previousSecretExpiresAt = "previous_secret_expires_at"
        case failingSince = "failing_since"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
    }

    /// With OpenAI's names beside ours, so that either kind of client reads it.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode("webhook", forKey: .object)
        try container.encode(settings.url, forKey: .url)
        try container.encode(settings.events, forKey: .events)
        try container.encode(settings.events, forKey: .eventTypes)
        try container.encode(settings.name, forKey: .name)
        try container.encode(settings.description, forKey: .description)
        try container.encode(settings.metadata, forKey: .metadata)
        try container.encode(settings.isActive, forKey: .active)
        try container.encode(disabledReason, forKey: .disabledReason)
        try container.encode(secretHint, forKey: .secretHint)
        try container.encode(secretHint, forKey: .signingSecretHint)
        try container.encode(previousSecretExpiresAt, forKey: .previousSecretExpiresAt)
        try container.encode(failingSince, forKey: .failingSince)
        try container.encode(generation, forKey: .generation)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(updatedAt, forKey: .updatedAt)
        try container.encodeIfPresent(secret, forKey: .secret)
        try container.encodeIfPresent(secret, forKey: .signingSecret)
    }

    static let columns = """
        id, url, events, name, description, metadata, active, disabled_reason, secret_hint,
        extract(epoch FROM CASE WHEN previous_secret_until > now() THEN previous_secret_until END)::bigint AS previous_until,
        extract(epoch FROM failing_since)::bigint AS failing_since, generation, extract(epoch FROM created_at)::bigint AS created_at,
        extract(epoch FROM updated_at)::bigint AS updated_at
        """

    init(_ row: Row) throws {
        id = try row.get("id")
        settings = WebhookSettings(url: try row.get("url"), events: try row.texts("events"))
        settings.name = try row.optional("name")
        settings.description = try row.optional("description")
        settings.metadata = try JSONDecoder().decode([String: String].self, from: Data(try row.get("metadata", as: [UInt8].self)))
        settings.isActive = try row.get("active")
        disabledReason = try row.optional("disabled_reason")
        secretHint = try row.get("secret_hint")
        previousSecretExpiresAt = try row.optional("previous_until")
        failingSince = try row.optional("failing_since")
        generation = try row.get("generation")
        createdAt = try row.get("created_at")
        updatedAt = try row.get("updated_at")
    }
}

/// The answer to a deletion.
struct DeletedWebhook: Encodable {
    var id: ID<Webhook>
    var object = "webhook.deleted"
    var deleted = true
}

/// What the audit log keeps of a webhook: of the URL only where it leads, since people put tokens into paths and queries.
struct AuditedWebhook: Encodable {
    var origin: String
    var events: [String]
    var active: Bool
    var generation: Int64

    init(_ webhook: WebhookObject) {
        origin = String(webhook.settings.url.prefix { $0 != "?" }.split(separator: "/", maxSplits: 2).prefix(2).joined(separator: "//"))
        events = webhook.settings.events
        active = webhook.settings.isActive
        generation = webhook.generation
    }
}

/// A delivery as it is shown.
public struct WebhookDeliveryObject: Sendable, Encodable, Identifiable {
    public var id: ID<WebhookDelivery>
    public var object = "webhook.delivery"
    public var webhookID: String
    public var eventID: String
    public var eventType: String
    public var status: String
    public var attempt: Int
    public var maxAttempts = DeliverySchedule.attempts
    public var attempts: [DeliveryAttempt]
    public var nextAttemptAt: Int?
    public var createdAt: Int
    public var deliveredAt: Int?

    private enum CodingKeys: String, CodingKey {
        case id, object, status, attempt, attempts
        case webhookID = "webhook_id"
        case eventID = "event_id"
        case eventType = "event_type"
        case maxAttempts = "max_attempts"
        case nextAttemptAt = "next_attempt_at"
        case createdAt = "created_at"
        case deliveredAt = "delivered_at"
    }

    static let columns = """
        id, webhook_id, event_id, event_type, status, attempt, attempts, extract(epoch FROM next_attempt_at)::bigint AS next_attempt_at,
        extract(epoch FROM created_at)::bigint AS created_at, extract(epoch FROM delivered_at)::bigint AS delivered_at
        """

    init(_ row: Row) throws {
        id = try row.get("id")
        webhookID = try row.get("webhook_id")
        eventID = try row.get("event_id")
        eventType = try row.get("event_type")
        status = try row.get("status")
        attempt = try row.get("attempt")
        attempts = try JSONDecoder().decode([DeliveryAttempt].self, from: Data(try row.get("attempts", as: [UInt8].self)))
        nextAttemptAt = try row.optional("next_attempt_at")
        createdAt = try row.get("created_at")
        deliveredAt = try row.optional("delivered_at")
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(object, forKey: .object)
        try container.encode(webhookID, forKey: .webhookID)
        try container.encode(eventID, forKey: .eventID)
        try container.encode(eventType, forKey: .eventType)
        try container.encode(status, forKey: .status)
        try container.encode(attempt, forKey: .attempt)
        try container.encode(maxAttempts, forKey: .maxAttempts)
        try container.encode(attempts, forKey: .attempts)
        try container.encode(nextAttemptAt, forKey: .nextAttemptAt)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(deliveredAt, forKey: .deliveredAt)
    }
}

/// What came of one attempt.
public struct DeliveryAttempt: Sendable, Codable, Equatable {
    /// Unix seconds.
    public var at: Int
    public var statusCode: Int?
    /// Why there was no answer; never an address.
    public var error: String?
    public var durationMilliseconds: Int
    /// At most 1 KiB of the answer.
    public var responseExcerpt: String?

    private enum CodingKeys: String, CodingKey {
        case at, error
        case statusCode = "status_code"
        case durationMilliseconds = "duration_ms"
        case responseExcerpt = "response_excerpt"
    }

    public var isSuccess: Bool { statusCode.map { (200...299).contains($0) } ?? false }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(at, forKey: .at)
        try container.encode(statusCode, forKey: .statusCode)
        try container.encode(error, forKey: .error)
        try container.encode(durationMilliseconds, forKey: .durationMilliseconds)
        try container.encode(responseExcerpt, forKey: .responseExcerpt)
    }
}
