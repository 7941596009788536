import Accounts
import OpenAI
import Postgres
import Server
import Tenancy

/// What an owner may do with the state of an endpoint (07 §6).
public enum EndpointStep: String, Sendable { case activate, deactivate, restart }

extension TenantConnection {
    /// Takes the step and notes it; a step that leads nowhere changes nothing.
    /// - Throws: 409 for a restart of what does not run.
    public func step(
        _ step: EndpointStep, endpoint name: String, if condition: EntityTags?, by actor: AuditActor
    ) throws -> EndpointObject {
        try change(name, "endpoint.\(step.rawValue)", if: condition, by: actor) { old in
            switch (step, old.status) {
            case (.activate, .inactive), (.activate, .failed): try move(old, to: .provisioning)
            case (.activate, _): return false
            case (.deactivate, .inactive): return false
            case (.deactivate, _): try move(old, to: .inactive)
            case (.restart, .inactive): throw EndpointError.notRunning
            // The new generation has new connections.
            case (.restart, _): try move(old, to: .provisioning)
            }
            return true
        }
    }

    /// Ends an endpoint: from now on nobody finds it. What runs on it goes on; its rows keep its slug.
    public func deleteEndpoint(_ name: String, if condition: EntityTags?, by actor: AuditActor) throws -> EndpointObject {
        try change(name, "endpoint.delete", if: condition, by: actor) { old in
            try query(
                """
                UPDATE endpoints SET status = 'deleting', status_detail = NULL, deleted_at = now(), upstream_api_key = NULL
                WHERE id = \(old.id) AND project_id = \(project)
                """)
            return true
        }
    }

    /// - Parameter body: whether it changed something.
    private func change(
        _ name: String, _ action: String, if condition: EntityTags?, by actor: AuditActor, _ body: (EndpointObject) throws -> Bool
    ) throws -> EndpointObject {
        try transaction {
            try requireManager(actor)
            try lockEndpoints()
            guard let old = try endpointObject(name, locking: true) else { throw CatalogError.endpointNotFound }
            try old.check(condition)
            let before = try auditJSON(old.id)
            guard try body(old) else { return old }
            try countGeneration(old.id)
            try audit(
                AuditEntry(
                    action: action, target: ("endpoint", old.id.description), beforeJSON: before, afterJSON: auditJSON(old.id)),
                by: actor)
            return try endpointObject(old.id.description) ?? old
        }
    }

    private func move(_ endpoint: EndpointObject, to status: EndpointRecord.Status) throws {
        try query(
            """
            UPDATE endpoints SET status = \(status.rawValue), status_detail = NULL, probed_at = NULL, probe_failures = 0, ready_servers = 0
            WHERE id = \(endpoint.id) AND project_id = \(project)
            """)
    }
}
