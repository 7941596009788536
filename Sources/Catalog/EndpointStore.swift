import Crypto
import Foundation
import HTTPClient
import OpenAI
import Postgres
import Server
import Tenancy

extension TenantConnection {
    /// Creates the endpoint, or changes it; the generation counts up, and the audit log gets a line, only where something changed.
    ///
    /// - Returns: the stored row as JSON, without the upstream's key.
    /// - Throws: `APIError` for what the change lacks or must not have.
    public func setEndpoint(
        _ slug: String, to change: EndpointChange, sealing: Sealing, outbound: OutboundGuard, by actor: AuditActor
    ) throws -> String {
        try change.check(outbound)
        // Before the transaction: the key is asked for, and perhaps made, on another connection.
        let sealer = try change.upstreamKey.map { _ in try sealing.sealer(of: project.description) }
        return try transaction {
            // Two changes of one project's endpoints would otherwise both find a slug free.
            try query("SELECT 1 FROM projects WHERE id = \(project) FOR UPDATE")
            var change = change
            change.tier = change.tier.map(sharedTier)
            let existing = try query(
                "SELECT id, tier FROM endpoints WHERE project_id = \(project) AND slug = \(slug) AND deleted_at IS NULL FOR UPDATE"
            ).first
            guard let tier = try change.tier ?? existing?.get("tier") else { throw APIError.missing("tier") }
            try change.checkLimits(against: serviceTier(tier))
            let model = try change.model.map { try modelID($0, change) }
            let id = try existing?.get("id") ?? insertEndpoint(slug, model: model, tier: tier, change)
            let before = try endpointJSON(id, without: ["generation", "updated_at"])
            let auditedBefore = try existing.map { _ in try auditJSON(id) }
            try update(id, change, model: model)
            if let key = change.upstreamKey, let sealer { try setUpstreamKey(key, on: id, sealing, sealer) }
            let isChanged = try before != endpointJSON(id, without: ["generation", "updated_at"])
            if existing != nil && isChanged {
                try query(
                    "UPDATE endpoints SET generation = generation + 1, updated_at = now() WHERE id = \(id) AND project_id = \(project)")
            }
            if existing == nil || isChanged {
                try audit(
                    AuditEntry(
                        action: existing == nil ? "endpoint.create" : "endpoint.update", target: ("endpoint", id.description),
                        beforeJSON: auditedBefore, afterJSON: auditJSON(id)), by: actor)
            }
            return try endpointJSON(id, without: ["upstream_api_key"])
        }
    }

    /// What the audit log keeps of an endpoint: no key, no header's value, no prompt. A new key shows in the generation.
    private func auditJSON(_ id: ID<Endpoint>) throws -> String {
        try query(
            """
            SELECT to_jsonb(e) || jsonb_build_object(
                'upstream_api_key', CASE WHEN upstream_api_key IS NULL THEN NULL ELSE 'set' END,
                'upstream_headers', ARRAY(SELECT jsonb_object_keys(upstream_headers)), 'defaults', defaults - 'system_prompt') AS json
            FROM endpoints e WHERE id = \(id) AND project_id = \(project)
            """)[0].get("json")
    }

    private func insertEndpoint(_ slug: String, model: ID<Model>?, tier: String, _ change: EndpointChange) throws -> ID<Endpoint> {
        guard let model else { throw APIError.missing("model") }
        guard !change.urls.isEmpty else { throw APIError.missing("upstream.url") }
        guard Slug.isEndpoint(slug) else {
            throw APIError.invalid("slug", "An endpoint slug has 1 to 48 characters of a-z, 0-9 and -, and neither starts nor ends with -.")
        }
        guard !Slug.reserved.contains(slug) else { throw APIError.invalid("slug", "'\(slug)' is a reserved word.") }
        let id = ID<Endpoint>.random()
        try query(
            """
            INSERT INTO endpoints (id, project_id, slug, name, model_id, tier, status)
            VALUES (\(id), \(project), \(slug), \(slug), \(model), \(tier), 'active')
            """)
        return id
    }

    private func update(_ id: ID<Endpoint>, _ change: EndpointChange, model: ID<Model>?) throws {
        try query(
            """
            UPDATE endpoints SET
                tier = COALESCE(\(change.tier), tier),
                model_id = COALESCE(\(model), model_id),
                task_mode = COALESCE(\(change.taskMode?.rawValue), task_mode),
                aliases = COALESCE(\(change.aliases), aliases),
                upstream_urls = COALESCE(\(change.urls.isEmpty ? nil : change.urls), upstream_urls),
                upstream_model = COALESCE(\(change.upstreamModel), upstream_model),
                upstream_health_path = COALESCE(\(change.healthPath), upstream_health_path),
                upstream_headers = COALESCE(\(try json(change.headers))::jsonb, upstream_headers),
                upstream_timeout_ms = COALESCE(\(change.timeoutMilliseconds), upstream_timeout_ms),
                upstream_max_concurrent = COALESCE(\(change.maxConcurrent), upstream_max_concurrent),
                context_length = COALESCE(\(change.contextLength), context_length),
                limits = COALESCE(\(try json(change.limits))::jsonb, limits),
                defaults = COALESCE(\(try json(change.defaults))::jsonb, defaults),
                status = COALESCE(\(change.status?.rawValue), status)
            WHERE id = \(id) AND project_id = \(project)
            """)
    }

    /// Sealing makes another envelope each time, so the stored one is kept where it holds the same key.
    private func setUpstreamKey(_ key: String, on id: ID<Endpoint>, _ sealing: Sealing, _ sealer: ProjectSealer) throws {
        let stored = try query("SELECT upstream_api_key FROM endpoints WHERE id = \(id) AND project_id = \(project)")[0].optional(
            "upstream_api_key", as: [UInt8].self)
        // What cannot be opened is replaced.
        let opened = try stored.flatMap { stored in
            do {
                return try sealing.open(project: project.description, kind: upstreamKeyKind, object: id.description, stored)
            } catch is SealingError { return nil }
        }
        guard opened != Array(key.utf8) else { return }
        let sealed = try sealer.seal(kind: upstreamKeyKind, object: id.description, Array(key.utf8))
        try query("UPDATE endpoints SET upstream_api_key = \(sealed) WHERE id = \(id) AND project_id = \(project)")
    }

    /// The model of this name; one that only exists at the upstream is noted on its first use.
    private func modelID(_ name: String, _ change: EndpointChange) throws -> ID<Model> {
        let known = try query(
            "SELECT id, status FROM models WHERE project_id = \(project) AND name = \(name) AND deleted_at IS NULL"
        ).first
        if let known {
            guard try known.get("status", as: String.self) == "ready" else {
                throw APIError.invalid("model", "The model '\(name)' is not ready.")
            }
            return try known.get("id")
        }
        let id = ID<Model>.random()
        try query(
            """
            INSERT INTO models (id, project_id, name, status, source, task_modes, context_length)
            VALUES (\(id), \(project), \(name), 'ready', 'http_upstream', \([(change.taskMode ?? .generate).rawValue]), \(change.contextLength))
            """)
        return id
    }

    private func endpointJSON(_ id: ID<Endpoint>, without columns: [String]) throws -> String {
        try query("SELECT to_jsonb(e) - \(columns)::text[] AS json FROM endpoints e WHERE id = \(id) AND project_id = \(project)")[0].get(
            "json")
    }

    private func json(_ value: (some Encodable)?) throws -> String? {
        guard let value else { return nil }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}

/// The dedicated tiers are stored as the shared ones of their vendor (06 §4).
private func sharedTier(_ slug: String) -> String {
    switch slug {
    case "gpu_nvidia_dedicated": "gpu_nvidia_shared"
    case "gpu_amd_dedicated": "gpu_amd_shared"
    default: slug
    }
}
