import OpenAI
import Postgres
import Server
import Tenancy

/// A project's budgets. Each change and its line in the audit log are one transaction; a trigger of the table counts what the period has seen and
/// fires what is reached.
extension TenantConnection {
    public func createBudget(_ settings: BudgetSettings, by actor: AuditActor) throws -> BudgetObject {
        try transaction {
            try checkScope(settings.scope, known: BudgetSettings.Scope())
            let id = ID<Budget>.random()
            do {
                try query(
                    """
                    INSERT INTO budgets (id, project_id, name, amount_cents, period, endpoint_ids, api_key_ids, thresholds, alert_channels, webhook_url,
                        hard_cap, cap_percent, created_by)
                    VALUES (\(id), \(project), \(settings.name), \(settings.amountCents), \(settings.period.rawValue), \(settings.scope.endpoints)::text[],
                        \(settings.scope.keys)::text[], \(settings.thresholds.map(String.init))::integer[], \(settings.channels.map(\.rawValue))::text[],
                        \(settings.webhookURL), \(settings.isHardCap), \(settings.capPercent), \(actor.userID))
                    """)
            } catch PostgresError.server(let message) where message.constraint == "budgets_per_project" {
                throw APIError(.quotaExceeded, "A project has at most 20 budgets.", strategy: .quota)
            }
            let budget = try self.budget(id)
            try audit(AuditEntry(action: "budget.create", target: ("budget", id.description), after: budget.settings.audited), by: actor)
            return budget
        }
    }

    /// Replaces what is said of a budget; its history and what it has counted stay, but for another period or scope it counts anew.
    public func replaceBudget(_ id: ID<Budget>, by settings: BudgetSettings, by actor: AuditActor) throws -> BudgetObject {
        try transaction {
            let before = try lockedBudget(id)
            try checkScope(settings.scope, known: before.settings.scope)
            try query(
                """
                UPDATE budgets SET name = \(settings.name), amount_cents = \(settings.amountCents), period = \(settings.period.rawValue),
                    endpoint_ids = \(settings.scope.endpoints)::text[], api_key_ids = \(settings.scope.keys)::text[],
                    thresholds = \(settings.thresholds.map(String.init))::integer[], alert_channels = \(settings.channels.map(\.rawValue))::text[],
                    webhook_url = \(settings.webhookURL), hard_cap = \(settings.isHardCap), cap_percent = \(settings.capPercent),
                    updated_at = clock_timestamp()
                WHERE project_id = \(project) AND id = \(id)
                """)
            let after = try budget(id)
            try audit(
                AuditEntry(
                    action: "budget.update", target: ("budget", id.description), before: before.settings.audited,
                    after: after.settings.audited), by: actor)
            return after
        }
    }

    public func deleteBudget(_ id: ID<Budget>, by actor: AuditActor) throws {
        try transaction {
            let before = try lockedBudget(id)
            try query("UPDATE budgets SET deleted_at = now() WHERE project_id = \(project) AND id = \(id)")
            try audit(AuditEntry(action: "budget.delete", target: ("budget", id.description), before: before.settings.audited), by: actor)
        }
    }

    public func budget(_ id: ID<Budget>) throws -> BudgetObject {
        let rows = try query(
            """
            SELECT \(trusted: BudgetObject.columns) FROM \(trusted: BudgetObject.source)
            WHERE b.project_id = \(project) AND b.id = \(id) AND b.deleted_at IS NULL
            """)
        guard let row = rows.first else { throw BudgetError.noSuchBudget }
        return try BudgetObject(row)
    }

    public func budgets(_ list: ListQuery = ListQuery()) throws -> ListPage<BudgetObject> {
        try list.checkCursors { cursor in try query("SELECT 1 FROM budgets WHERE project_id = \(project) AND id = \(cursor)") }
        return list.page(
            try query(
                """
                SELECT \(trusted: BudgetObject.columns) FROM \(trusted: BudgetObject.source)
                WHERE b.project_id = \(project) AND b.deleted_at IS NULL
                    \(page: list, of: "budgets", as: "b", in: project)
                """
            ).map(BudgetObject.init))
    }

    /// What a budget has fired, by time and threshold.
    public func budgetAlerts(of id: ID<Budget>, _ list: ListQuery = ListQuery()) throws -> ListPage<BudgetAlertObject> {
        _ = try budget(id)
        try list.checkCursors { cursor in
            try query("SELECT 1 FROM budget_history WHERE project_id = \(project) AND budget_id = \(id) AND id = \(cursor)")
        }
        return list.page(
            try query(
                """
                SELECT \(trusted: BudgetAlertObject.columns) FROM budget_history h
                WHERE project_id = \(project) AND budget_id = \(id)
                    \(page: list, of: "budget_history", as: "h", in: project, by: ["fired_at", "threshold", "id"])
                """
            ).map(BudgetAlertObject.init))
    }

    /// Fires what is reached and not yet fired.
    func checkBudgets() throws -> BudgetCheck {
        try transaction {
            let checked = try query(
                "UPDATE budgets SET checked_at = now() WHERE project_id = \(project) AND deleted_at IS NULL RETURNING id")
            let fired = try query(
                """
                SELECT \(trusted: BudgetAlertObject.columns) FROM budget_history
                WHERE project_id = \(project) AND xmin = pg_current_xact_id()::xid ORDER BY budget_id, threshold
                """)
            return BudgetCheck(checked: checked.count, fired: try fired.map(BudgetAlertObject.init))
        }
    }

    private func lockedBudget(_ id: ID<Budget>) throws -> BudgetObject {
        let rows = try query("SELECT 1 FROM budgets WHERE project_id = \(project) AND id = \(id) AND deleted_at IS NULL FOR UPDATE")
        guard !rows.isEmpty else { throw BudgetError.noSuchBudget }
        return try budget(id)
    }

    /// Endpoints and keys must be the project's; those that the budget already had may be gone.
    private func checkScope(_ scope: BudgetSettings.Scope, known: BudgetSettings.Scope) throws {
        func check(_ ids: [String], _ known: [String], _ name: String, _ found: [Row]) throws {
            let found = Set(try found.map { try $0.get("id", as: String.self) } + known)
            guard let index = ids.firstIndex(where: { !found.contains($0) }) else { return }
            throw APIError.invalid("\(name)[\(index)]", "'\(name)' names something that is not in this project.")
        }
        try check(
            scope.endpoints, known.endpoints, "scope.endpoint_ids",
            scope.endpoints.isEmpty
                ? []
                : query(
                    "SELECT id FROM endpoints WHERE project_id = \(project) AND id = ANY (\(scope.endpoints)::text[]) AND deleted_at IS NULL"
                ))
        try check(
            scope.keys, known.keys, "scope.api_key_ids",
            scope.keys.isEmpty ? [] : query("SELECT id FROM api_keys WHERE project_id = \(project) AND id = ANY (\(scope.keys)::text[])"))
    }
}

enum BudgetError: APIErrorConvertible, Equatable {
    case noSuchBudget

    var apiError: APIError { APIError(.notFound, "There is no such budget.") }
}
