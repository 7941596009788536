import Crypto
import Foundation
import Jobs
import OpenAI
import Postgres
import Server
import Tenancy

/// A project's webhooks. Each change and its line in the audit log are one transaction.
extension TenantConnection {
    public func webhooks(_ list: ListQuery) throws -> ListPage<WebhookObject> {
        try list.checkCursors { cursor in
            try query("SELECT 1 FROM webhooks WHERE project_id = \(project) AND id = \(cursor) AND budget_id IS NULL")
        }
        return list.page(
            try query(
                """
                SELECT \(trusted: WebhookObject.columns) FROM webhooks
                WHERE project_id = \(project) AND deleted_at IS NULL AND budget_id IS NULL
                    \(page: list, of: "webhooks", in: project)
                """
            ).map(WebhookObject.init))
    }

    public func webhook(_ id: ID<Webhook>) throws -> WebhookObject { try readWebhook(id, lock: "") }

    private func readWebhook(_ id: ID<Webhook>, lock: String) throws -> WebhookObject {
        let rows = try query(
            """
            SELECT \(trusted: WebhookObject.columns) FROM webhooks
            WHERE project_id = \(project) AND id = \(id) AND deleted_at IS NULL AND budget_id IS NULL \(trusted: lock)
            """)
        guard let row = rows.first else { throw WebhookError.noSuchWebhook }
        return try WebhookObject(row)
    }

    func createWebhook(
        _ settings: WebhookSettings, _ secret: WebhookSecret, _ sealer: ProjectSealer, by actor: AuditActor
    ) throws -> WebhookObject {
        try transaction {
            // Two at the same moment would both find the last place.
            try query("SELECT 1 FROM projects WHERE id = \(project) FOR NO KEY UPDATE")
            let count: Int = try query(
                "SELECT count(*) AS n FROM webhooks WHERE project_id = \(project) AND deleted_at IS NULL AND budget_id IS NULL")[0].get("n")
            guard count < WebhookRules.mostWebhooks else { throw WebhookError.tooMany }
            let id = ID<Webhook>.random()
            let sealed = try sealer.seal(kind: WebhookRules.secretKind, object: id.description, Array(secret.text.utf8))
            try query(
                """
                INSERT INTO webhooks (id, project_id, url, events, name, description, metadata, active, secret, secret_hint, created_by)
                VALUES (\(id), \(project), \(settings.url), \(settings.events)::text[], \(settings.name), \(settings.description),
                    \(try Self.json(settings.metadata))::jsonb, \(settings.isActive), \(sealed), \(secret.hint), \(actor.userID))
                """)
            var made = try webhook(id)
            try auditWebhook("create", nil, made, by: actor)
            made.secret = secret.text
            return made
        }
    }

    func changeWebhook(_ id: ID<Webhook>, _ change: WebhookChange, if condition: EntityTags?, by actor: AuditActor) throws -> WebhookObject
    {
        try writeWebhook(id, if: condition, by: actor) { settings in
            settings.url = change.url ?? settings.url
            settings.events = change.events ?? settings.events
            if let name = change.name { settings.name = name }
            if let description = change.description { settings.description = description }
            settings.metadata = change.metadata ?? settings.metadata
            settings.isActive = change.isActive ?? settings.isActive
        }
    }

    func replaceWebhook(_ id: ID<Webhook>, by new: WebhookSettings, if condition: EntityTags?, by actor: AuditActor) throws -> WebhookObject
    {
        try writeWebhook(id, if: condition, by: actor) { $0 = new }
    }

    /// What is switched on, or leads elsewhere, begins without the failures it had.
    private func writeWebhook(
        _ id: ID<Webhook>, if condition: EntityTags?, by actor: AuditActor, _ change: (inout WebhookSettings) -> Void
    ) throws -> WebhookObject {
        try transaction {
            let old = try readWebhook(id, lock: "FOR NO KEY UPDATE")
            try old.check(condition)
            var settings = old.settings
            change(&settings)
            guard settings != old.settings else { return old }
            let isFresh = settings.url != old.settings.url || (settings.isActive && !old.settings.isActive)
            try query(
                """
                UPDATE webhooks SET url = \(settings.url), events = \(settings.events)::text[], name = \(settings.name),
                    description = \(settings.description), metadata = \(try Self.json(settings.metadata))::jsonb, active = \(settings.isActive),
                    disabled_reason = CASE WHEN \(settings.isActive) THEN NULL ELSE disabled_reason END,
                    failing_since = CASE WHEN \(isFresh) THEN NULL ELSE failing_since END, generation = generation + 1, updated_at = now()
                WHERE project_id = \(project) AND id = \(id)
                """)
            let new = try webhook(id)
            try auditWebhook("update", old, new, by: actor)
            return new
        }
    }

    func deleteWebhook(_ id: ID<Webhook>, if condition: EntityTags?, by actor: AuditActor) throws {
        try transaction {
            let old = try readWebhook(id, lock: "FOR NO KEY UPDATE")
            try old.check(condition)
            try query(
                "UPDATE webhooks SET deleted_at = now(), active = false, previous_secret = NULL WHERE project_id = \(project) AND id = \(id)"
            )
            try auditWebhook("delete", old, nil, by: actor)
        }
    }

    /// - Parameter overlap: seconds for which the secret before signs too.
    func rotateWebhookSecret(
        _ id: ID<Webhook>, to secret: WebhookSecret, overlap: Double, _ sealer: ProjectSealer, by actor: AuditActor
    ) throws -> WebhookObject {
        try transaction {
            let old = try readWebhook(id, lock: "FOR NO KEY UPDATE")
            let sealed = try sealer.seal(kind: WebhookRules.secretKind, object: id.description, Array(secret.text.utf8))
            try query(
                """
                UPDATE webhooks SET previous_secret = CASE WHEN \(overlap)::double precision > 0 THEN secret END,
                    previous_secret_until = CASE WHEN \(overlap)::double precision > 0 THEN now() + make_interval(secs => \(overlap)) END,
                    secret = \(sealed), secret_hint = \(secret.hint), generation = generation + 1, updated_at = now()
                WHERE project_id = \(project) AND id = \(id)
                """)
            var new = try webhook(id)
            try auditWebhook("rotate_secret", old, new, by: actor)
            new.secret = secret.text
            return new
        }
    }

    /// Counts a test, and gives what is to be sent.
    /// - Parameter hour: seconds, scaled.
    func beginWebhookTest(_ id: ID<Webhook>, hour: Double) throws -> (url: String, secrets: StoredSecrets) {
        try transaction {
            let row = try query(
                """
                UPDATE webhooks SET tests = CASE WHEN tests_from > now() - make_interval(secs => \(hour)) THEN tests + 1 ELSE 1 END,
                    tests_from = CASE WHEN tests_from > now() - make_interval(secs => \(hour)) THEN tests_from ELSE now() END
                WHERE project_id = \(project) AND id = \(id) AND deleted_at IS NULL AND budget_id IS NULL
                RETURNING tests, ceil(extract(epoch FROM tests_from - now()) + \(hour))::bigint AS left_over, url,
                    secret, CASE WHEN previous_secret_until > now() THEN previous_secret END AS previous_secret
                """
            ).first
            guard let row else { throw WebhookError.noSuchWebhook }
            guard try row.get("tests", as: Int.self) <= WebhookRules.testsPerHour else {
                throw WebhookError.tooManyTests(retryAfter: max(1, try row.get("left_over")))
            }
            return (try row.get("url"), try StoredSecrets(row, of: id))
        }
    }

    // MARK: Deliveries

    func deliveries(of webhook: ID<Webhook>, _ list: ListQuery, status: String?) throws -> ListPage<WebhookDeliveryObject> {
        _ = try self.webhook(webhook)
        try list.checkCursors { cursor in
            try query("SELECT 1 FROM webhook_deliveries WHERE project_id = \(project) AND webhook_id = \(webhook) AND id = \(cursor)")
        }
        return list.page(
            try query(
                """
                SELECT \(trusted: WebhookDeliveryObject.columns) FROM webhook_deliveries d
                WHERE project_id = \(project) AND webhook_id = \(webhook) AND (\(status)::text IS NULL OR status = \(status))
                    \(page: list, of: "webhook_deliveries", as: "d", in: project)
                """
            ).map(WebhookDeliveryObject.init))
    }

    func delivery(_ id: String, of webhook: ID<Webhook>) throws -> WebhookDeliveryObject {
        _ = try self.webhook(webhook)
        let rows = try query(
            """
            SELECT \(trusted: WebhookDeliveryObject.columns) FROM webhook_deliveries
            WHERE project_id = \(project) AND webhook_id = \(webhook) AND id = \(id)
            """)
        guard let row = rows.first else { throw WebhookError.noSuchDelivery }
        return try WebhookDeliveryObject(row)
    }

    /// Sends the event of a delivery once more, as a delivery of its own: the receiver sees the same event identifier.
    func redeliver(_ id: String, of webhook: ID<Webhook>, by actor: AuditActor) throws -> WebhookDeliveryObject {
        try transaction {
            guard try self.webhook(webhook).settings.isActive else { throw WebhookError.inactive }
            let old = try delivery(id, of: webhook)
            guard !(try query("SELECT 1 FROM outbox WHERE project_id = \(project) AND id = \(old.eventID)")).isEmpty else {
                throw WebhookError.noSuchDelivery
            }
            let new: String = try query(
                "SELECT webhook_deliver(\(project), \(webhook), \(old.eventID), \(old.eventType)) AS id")[0].get("id")
            afterCommit(JobBell.note(.webhooks, new))
            let delivery = try delivery(new, of: webhook)
            try audit(
                try AuditEntry(action: "webhook.redeliver", target: ("webhook", webhook.description), after: ["delivery": new]), by: actor)
            return delivery
        }
    }

    private func auditWebhook(_ verb: String, _ old: WebhookObject?, _ new: WebhookObject?, by actor: AuditActor) throws {
        guard let id = (new ?? old)?.id else { return }
        try audit(
            AuditEntry(
                action: "webhook.\(verb)", target: ("webhook", id.description), before: old.map(AuditedWebhook.init),
                after: new.map(AuditedWebhook.init)), by: actor)
    }

    private static func json(_ value: some Encodable) throws -> String { String(decoding: try JSONEncoder().encode(value), as: UTF8.self) }
}

extension WebhookObject {
    /// - Throws: 412 when it has changed since the client read it.
    fileprivate func check(_ condition: EntityTags?) throws {
        guard let condition, !condition.match(generation) else { return }
        throw WebhookError.changed(to: generation)
    }
}

/// The sealed secrets of a webhook that sign now.
struct StoredSecrets: Sendable {
    private let webhook: ID<Webhook>
    private let sealed: [[UInt8]]

    init(_ row: Row, of webhook: ID<Webhook>) throws {
        self.webhook = webhook
        sealed = [try row.get("secret", as: [UInt8].self), try row.optional("previous_secret", as: [UInt8].self)].compactMap { $0 }
    }

    func open(_ project: ID<Project>, _ sealing: Sealing) throws -> [WebhookSecret] {
        try sealed.map { sealed in
            let text = try sealing.open(
                project: project.description, kind: WebhookRules.secretKind, object: webhook.description, sealed)
            return WebhookSecret(unchecked: String(decoding: text, as: UTF8.self))
        }
    }
}
