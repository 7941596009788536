import Billing
import Crypto
import OpenAI
import Tenancy

/// The servers of budgets as webhooks that are no subscriptions: they are told of their budget's alerts alone, by its flat body (08 §8).
public struct WebhooksOfBudgets: BudgetWebhooks {
    private let sealing: Sealing

    public init(sealing: Sealing) { self.sealing = sealing }

    public func writer(of project: ID<Project>) throws -> BudgetWebhookWriter {
        let sealer = try sealing.sealer(of: project.description)
        return { connection, budget, url in try connection.setWebhook(of: budget, to: url, sealer) }
    }
}

extension TenantConnection {
    fileprivate func setWebhook(of budget: ID<Budget>, to url: String?, _ sealer: ProjectSealer) throws -> String? {
        guard let url else {
            try query(
                """
                UPDATE webhooks SET deleted_at = now(), active = false WHERE project_id = \(project) AND budget_id = \(budget) AND deleted_at IS NULL
                """)
            return nil
        }
        let changed = try query(
            """
            UPDATE webhooks SET url = \(url), active = true, disabled_reason = NULL, updated_at = now(),
                failing_since = CASE WHEN url = \(url) AND active THEN failing_since END
            WHERE project_id = \(project) AND budget_id = \(budget) AND deleted_at IS NULL RETURNING 1
            """)
        if !changed.isEmpty { return nil }
        let (id, secret) = (ID<Webhook>.random(), WebhookSecret.random())
        let sealed = try sealer.seal(kind: WebhookRules.secretKind, object: id.description, Array(secret.text.utf8))
        try query(
            """
            INSERT INTO webhooks (id, project_id, url, events, metadata, active, secret, secret_hint, budget_id)
            VALUES (\(id), \(project), \(url), '{}', '{}', true, \(sealed), \(secret.hint), \(budget))
            """)
        return secret.text
    }
}
