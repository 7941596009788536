import HTTPClient
import JSON
import OpenAI
import Server

/// Reads the bodies of the webhook routes. `event_types` and `signing_secret` are OpenAI's names of `events` and `secret`.
enum WebhookBodies {
    private static let settings: Set<String> = ["url", "events", "event_types", "name", "description", "metadata", "active"]
    private static let secrets: Set<String> = ["secret", "signing_secret"]

    /// A whole webhook.
    static func new(_ root: JSONElement, _ outbound: OutboundGuard) throws -> (WebhookSettings, WebhookSecret?) {
        try Fields.refuseMembers(of: root, "", except: settings.union(secrets))
        let secret = try secret(root)
        return (try whole(try change(root, outbound)), secret)
    }

    static func replacement(_ root: JSONElement, _ outbound: OutboundGuard) throws -> WebhookSettings {
        try whole(try update(root, outbound))
    }

    static func update(_ root: JSONElement, _ outbound: OutboundGuard) throws -> WebhookChange {
        for (name, element) in [("secret", root["secret"]), ("signing_secret", root["signing_secret"])] where element != nil {
            throw APIError(.unsupportedParameter, "'\(name)' is changed by rotate-secret.", param: name)
        }
        try Fields.refuseMembers(of: root, "", except: settings)
        return try change(root, outbound)
    }

    /// The new secret, if the caller has chosen one, and whether the one before signs on for a day.
    static func rotation(_ root: JSONElement) throws -> (WebhookSecret?, keepsOld: Bool) {
        let keep: StaticString = "keep_old_secret_active_for_24_hours"
        try Fields.refuseMembers(of: root, "", except: secrets.union(["\(keep)"]))
        return (try secret(root), try value(root[keep]).map { try Fields.bool($0, "\(keep)") } ?? true)
    }

    private static func whole(_ change: WebhookChange) throws -> WebhookSettings {
        guard let url = change.url else { throw APIError.missing("url") }
        guard let events = change.events else { throw APIError.missing("events") }
        var settings = WebhookSettings(url: url, events: events)
        settings.name = change.name ?? nil
        settings.description = change.description ?? nil
        settings.metadata = change.metadata ?? [:]
        settings.isActive = change.isActive ?? true
        return settings
    }

    private static func change(_ root: JSONElement, _ outbound: OutboundGuard) throws -> WebhookChange {
        var change = WebhookChange()
        change.url = try value(root["url"]).map { try url($0, outbound) }
        if value(root["events"]) != nil && value(root["event_types"]) != nil {
            throw APIError(.unsupportedCombination, "'events' and 'event_types' are two names of the same.", param: "event_types")
        }
        if let events = value(root["events"]) { change.events = try self.events(events, "events") }
        if let events = value(root["event_types"]) { change.events = try self.events(events, "event_types") }
        change.name = try text(root["name"], "name", atMost: 64)
        change.description = try text(root["description"], "description", atMost: 512)
        if let metadata = root["metadata"] { change.metadata = metadata.isNull ? [:] : try Fields.metadata(metadata) }
        change.isActive = try value(root["active"]).map { try Fields.bool($0, "active") }
        return change
    }

    /// What only the name's resolution tells is checked when the webhook is called.
    private static func url(_ element: JSONElement, _ outbound: OutboundGuard) throws -> String {
        let text = try Fields.string(element, "url", atMost: 2_048)
        guard text.utf8.count <= 2_048 else { throw APIError.invalid("url", "'url' must have at most 2048 bytes.") }
        do throws(OutboundRefusal) {
            return try outbound.check(text).description
        } catch {
            throw error.apiError(param: "url")
        }
    }

    private static func events(_ element: JSONElement, _ name: String) throws -> [String] {
        try Fields.array(element, name)
        var events: [String] = []
        for (index, item) in element.elements.enumerated() {
            let event = try Fields.string(item, "\(name)[\(index)]", atMost: 64)
            guard WebhookRules.known.contains(event) else {
                throw APIError(
                    .invalidEventType, "'\(event)' is no type of event. webhooks/event-types lists them.", param: "\(name)[\(index)]")
            }
            if !events.contains(event) { events.append(event) }
        }
        guard !events.isEmpty else { throw APIError.invalid(name, "'\(name)' must name at least one type of event.") }
        return events
    }

    private static func secret(_ root: JSONElement) throws -> WebhookSecret? {
        for (name, element) in [("secret", root["secret"]), ("signing_secret", root["signing_secret"])] {
            if let secret = value(element) { return try WebhookSecret(checking: try Fields.string(secret, name), param: name) }
        }
        return nil
    }

    /// null = none.
    private static func text(_ element: JSONElement?, _ name: String, atMost limit: Int) throws -> String?? {
        guard let element else { return nil }
        if element.isNull { return .some(nil) }
        return .some(try Fields.string(element, name, atMost: limit))
    }

    /// null is the same as absent (01 §6).
    private static func value(_ element: JSONElement?) -> JSONElement? { element.flatMap { $0.isNull ? nil : $0 } }
}
