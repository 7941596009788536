import Accounts
import Crypto
import Foundation
import HTTPClient
import OpenAI
import Postgres
import Server
import Tenancy

/// How an endpoint is written.
public enum EndpointWrite: Sendable, Equatable {
    /// As a new one; a slug that exists is refused.
    case create
    /// One that is there, by identifier or slug.
    case change(if: EntityTags?)
    /// The operator's tool: either of the two. What it makes is active at once.
    case set
}

extension TenantConnection {
    /// Creates the endpoint or changes it: the one way, whoever asks. The generation counts up, and the audit log gets a line, only where something
    /// changed.
    ///
    /// - Parameters:
    ///   - name: its slug; for a change the identifier too.
    ///   - timeScale: of the time for which the slug of a deleted endpoint stays taken.
    /// - Throws: `APIError` for what the change lacks or must not have; then nothing is changed.
    public func writeEndpoint(
        _ name: String, _ write: EndpointWrite, _ vetted: VettedEndpointChange, timeScale: Double = 1, by actor: AuditActor
    ) throws -> EndpointObject {
        let change = vetted.change
        return try transaction {
            try requireManager(actor)
            try lockEndpoints()
            let old = try endpointObject(name, locking: true)
            try check(old, name, write)
            var settings = change.applied(to: old?.settings ?? EndpointSettings())
            let slug = old?.slug ?? name
            let model = try complete(&settings, slug: slug, old)
            guard !settings.tier.isEmpty else { throw APIError.missing("tier") }
            try EndpointRules.check(
                settings, old: old?.settings, tier: serviceTier(settings.tier), outbound: write == .set ? nil : vetted.outbound)
            try checkRoom(in: settings.tier, for: old)
            if settings.placement.agents != old?.settings.placement.agents { try checkAgents(settings.placement.agents) }
            try keepKeyFromOthers(change, old, settings)
            if settings.visibility == .publicKey, old?.settings.visibility != .publicKey { try checkPinnedKeys(of: slug) }
            let before = try old.map { try auditJSON($0.id) }
            let id = try old?.id ?? insertEndpoint(slug, settings, model: try model ?? makeModel(settings), write, timeScale, by: actor)
            let isKeyChanged = try setUpstreamKey(vetted, on: id)
            if let old {
                let isStatusChanged = try set(change.status, on: old)
                guard settings != old.settings || isKeyChanged || isStatusChanged else { return old }
                try update(id, to: settings, model: try model ?? makeModel(settings))
                if settings.upstream != old.settings.upstream || isKeyChanged { try probeAgain(id) }
                try countGeneration(id)
            } else {
                try update(id, to: settings, model: nil)
                _ = try endpointObject(id.description).map { try set(change.status, on: $0) }
            }
            try audit(
                AuditEntry(
                    action: old == nil ? "endpoint.create" : "endpoint.update", target: ("endpoint", id.description), beforeJSON: before,
                    afterJSON: auditJSON(id)), by: actor)
            return try requireEndpoint(id.description)
        }
    }

    /// `writeEndpoint` as the operator's tool uses it.
    /// - Returns: the stored row as JSON, without the upstream's key.
    public func setEndpoint(
        _ slug: String, to change: EndpointChange, sealing: Sealing, outbound: OutboundGuard, timeScale: Double = 1, by actor: AuditActor
    ) throws -> String {
        let vetted = try VettedEndpointChange(change, of: project, sealing: sealing, outbound: outbound)
        let id = try writeEndpoint(slug, .set, vetted, timeScale: timeScale, by: actor).id
        return try query(
            """
            SELECT to_jsonb(e) - 'upstream_api_key' - \(Self.passing)::text[] AS json FROM endpoints e
            WHERE id = \(id) AND project_id = \(project)
            """)[0].get("json")
    }

    // MARK: Parts of a write

    /// Two changes of one project's endpoints would otherwise both find a slug free, or the last place.
    func lockEndpoints() throws { try query("SELECT 1 FROM projects WHERE id = \(project) FOR NO KEY UPDATE") }

    private func check(_ old: EndpointObject?, _ name: String, _ write: EndpointWrite) throws {
        switch write {
        case .create:
            try EndpointRules.check(slug: name)
            if old != nil { throw EndpointError.slugTaken(name) }
        case .set:
            if old == nil { try EndpointRules.check(slug: name) }
        case .change(let condition):
            guard let old else { throw CatalogError.endpointNotFound }
            try old.check(condition)
        }
    }

    /// Fills in what follows from the rest, and gives the identifier of a model that is there.
    private func complete(_ settings: inout EndpointSettings, slug: String, _ old: EndpointObject?) throws -> ID<Model>? {
        if settings.name.isEmpty { settings.name = slug }
        if settings.model.isEmpty {
            // Some servers' names have characters that ours do not.
            settings.model = settings.upstream.model.flatMap { EndpointRules.isModelName($0) ? $0 : nil } ?? slug
        }
        let known = try query(
            """
            SELECT id, name, status, version FROM models
            WHERE project_id = \(project) AND (name = \(settings.model) OR id = \(settings.model)) AND deleted_at IS NULL
            """
        ).first
        guard let known else {
            if settings.model.hasPrefix(Model.idPrefix) { throw CatalogError.modelNotFound(settings.model) }
            try Self.check(settings.modelVersion, is: Self.firstVersion)
            return nil
        }
        settings.model = try known.get("name")
        guard try known.get("status", as: String.self) == "ready" else {
            throw APIError.invalid("model", "The model '\(settings.model)' is not ready.")
        }
        try Self.check(settings.modelVersion, is: known.get("version"))
        return try known.get("id")
    }

    private static let firstVersion = "1"

    private static func check(_ version: String, is present: String) throws {
        guard version == "latest" || version == present else {
            throw APIError(.invalidVersion, "The model has no version '\(version.prefix(64))'.", param: "model_version")
        }
    }

    /// A model that exists only at the upstream is noted on its first use.
    private func makeModel(_ settings: EndpointSettings) throws -> ID<Model> {
        let id = ID<Model>.random()
        try query(
            """
            INSERT INTO models (id, project_id, name, status, source, task_modes, context_length, version)
            VALUES (\(id), \(project), \(settings.model), 'ready', 'http_upstream', \([settings.taskMode.rawValue]),
                \(settings.contextLength), \(Self.firstVersion))
            """)
        return id
    }

    /// Whether the project may have one more endpoint, and one more of the tier.
    private func checkRoom(in tier: String, for old: EndpointObject?) throws {
        if let old, old.settings.tier == tier { return }
        let row = try query(
            """
            SELECT count(*) AS all, count(*) FILTER (WHERE tier = \(tier)) AS of_tier,
                (SELECT max_endpoints FROM service_tiers WHERE slug = \(tier)) AS most
            FROM endpoints WHERE project_id = \(project) AND deleted_at IS NULL
            """)[0]
        let most: Int = try row.get("most")
        if try row.get("of_tier", as: Int.self) >= most {
            throw EndpointError.tooMany("\(most) endpoints of the tier '\(tier)' in a project")
        }
        if try old == nil && row.get("all", as: Int.self) >= EndpointRules.mostEndpoints {
            throw EndpointError.tooMany("\(EndpointRules.mostEndpoints) endpoints in a project")
        }
    }

    /// Nobody learns the stored key by leading the endpoint to a server of theirs: it goes only where it was given for.
    private func keepKeyFromOthers(_ change: EndpointChange, _ old: EndpointObject?, _ settings: EndpointSettings) throws {
        guard let old, old.hasUpstreamKey, change.upstreamKey == nil, !change.removesUpstreamKey else { return }
        let known = Set(old.settings.upstream.urls.compactMap { try? OutboundURL($0).origin })
        for text in settings.upstream.urls where !known.contains(try OutboundURL(text).origin) {
            throw APIError(
                .missingRequiredParameter,
                "Give 'upstream.api_key' again, or null, when a URL leads to another server: the stored key is not sent to it.",
                param: "upstream.api_key")
        }
    }

    /// What is asked of a key for browsers when it is made (08 §3) holds for those that are pinned to the endpoint already, too.
    private func checkPinnedKeys(of slug: String) throws {
        let unfit = try query(
            """
            SELECT id FROM api_keys WHERE project_id = \(project) AND endpoint = \(slug) AND is_active
                AND COALESCE(expires_at > now(), true) AND (quota IS NULL OR scopes <> ARRAY['inference'])
            ORDER BY id LIMIT 1
            """
        ).first
        guard let unfit else { return }
        throw APIError(
            .unsupportedCombination,
            "The key \(try unfit.get("id", as: ID<APIKey>.self)) is pinned to the endpoint and cannot stand in a page: it needs a quota, and the "
                + "scope 'inference' alone. Change or revoke it first.",
            param: "visibility")
    }

    private func insertEndpoint(
        _ slug: String, _ settings: EndpointSettings, model: ID<Model>, _ write: EndpointWrite, _ timeScale: Double, by actor: AuditActor
    ) throws -> ID<Endpoint> {
        let taken = try query(
            """
            SELECT 1 FROM endpoints WHERE project_id = \(project) AND slug = \(slug)
                AND deleted_at > now() - interval '24 hours' * \(timeScale)::double precision LIMIT 1
            """)
        guard taken.isEmpty else { throw EndpointError.slugKept(slug) }
        let id = ID<Endpoint>.random()
        try query(
            """
            INSERT INTO endpoints (id, project_id, slug, name, model_id, tier, status, created_by)
            VALUES (\(id), \(project), \(slug), \(settings.name), \(model), \(settings.tier), \(write == .set ? "active" : "provisioning"),
                \(actor.userID))
            """)
        return id
    }

    private func update(_ id: ID<Endpoint>, to settings: EndpointSettings, model: ID<Model>?) throws {
        let upstream = settings.upstream
        try query(
            """
            UPDATE endpoints SET name = \(settings.name), description = \(settings.description), model_id = COALESCE(\(model), model_id),
                model_version = \(settings.modelVersion), tier = \(settings.tier), task_mode = \(settings.taskMode.rawValue),
                aliases = \(settings.aliases), upstream_urls = \(upstream.urls), upstream_model = \(upstream.model),
                upstream_health_path = \(upstream.healthPath), upstream_headers = \(try json(upstream.headers))::jsonb,
                upstream_timeout_ms = \(upstream.timeoutMilliseconds), upstream_max_concurrent = \(upstream.maxConcurrent), upstream_engine = \(upstream.engine?.rawValue),
                placement = \(try json(settings.placement))::jsonb, limits = \(try json(settings.limits))::jsonb, defaults = \(try json(settings.defaults))::jsonb,
                retention = \(try json(settings.retention))::jsonb, prefix_cache = \(settings.prefixCache),
                context_length = \(settings.contextLength), visibility = \(settings.visibility.rawValue),
                metadata = \(try json(settings.metadata))::jsonb,
                cors = \(try settings.cors.map(json))::jsonb,
                cors_generation = cors_generation
                    + CASE WHEN cors IS DISTINCT FROM \(try settings.cors.map(json))::jsonb THEN 1 ELSE 0 END
            WHERE id = \(id) AND project_id = \(project)
            """)
    }

    private func set(_ status: EndpointRecord.Status?, on old: EndpointObject) throws -> Bool {
        guard let status, status != old.status else { return false }
        guard status == .active || status == .inactive else {
            throw APIError.invalid("status", "The status can be set to active or inactive.")
        }
        // Degraded is active, and its servers say so.
        if status == .active && old.status == .degraded { return false }
        try query(
            """
            UPDATE endpoints SET status = \(status.rawValue), status_detail = NULL, probed_at = NULL, probe_failures = 0
            WHERE id = \(old.id) AND project_id = \(project)
            """)
        return true
    }

    /// Sealing makes another envelope each time, so the stored one is kept where it holds the same key.
    /// - Returns: whether the key is another one now.
    private func setUpstreamKey(_ vetted: VettedEndpointChange, on id: ID<Endpoint>) throws -> Bool {
        let stored = try query("SELECT upstream_api_key FROM endpoints WHERE id = \(id) AND project_id = \(project)")[0].optional(
            "upstream_api_key", as: [UInt8].self)
        guard let key = vetted.change.upstreamKey, let sealer = vetted.sealer else {
            guard vetted.change.removesUpstreamKey, stored != nil else { return false }
            try query("UPDATE endpoints SET upstream_api_key = NULL WHERE id = \(id) AND project_id = \(project)")
            return true
        }
        // What cannot be opened is replaced.
        let opened = try stored.flatMap { stored in
            do {
                return try vetted.sealing.open(project: project.description, kind: upstreamKeyKind, object: id.description, stored)
            } catch is SealingError { return nil }
        }
        guard opened != Array(key.utf8) else { return false }
        let sealed = try sealer.seal(kind: upstreamKeyKind, object: id.description, Array(key.utf8))
        try query("UPDATE endpoints SET upstream_api_key = \(sealed) WHERE id = \(id) AND project_id = \(project)")
        return true
    }

    /// - Throws: 400 for agents that the project does not have.
    private func checkAgents(_ agents: [String]) throws {
        guard !agents.isEmpty else { return }
        let rows = try query("SELECT id FROM agents WHERE project_id = \(project) AND id = ANY(\(agents)) AND revoked_at IS NULL")
        let known = Set(try rows.map { try $0.get("id", as: String.self) })
        guard let place = agents.firstIndex(where: { !known.contains($0) }) else { return }
        throw APIError.invalid("placement.agents[\(place)]", "The project has no agent '\(agents[place])'.")
    }

    func countGeneration(_ id: ID<Endpoint>) throws {
        try query("UPDATE endpoints SET generation = generation + 1, updated_at = now() WHERE id = \(id) AND project_id = \(project)")
    }

    /// Other servers are asked for their health at once; a failed endpoint gets another chance.
    private func probeAgain(_ id: ID<Endpoint>) throws {
        try query(
            """
            UPDATE endpoints SET probed_at = NULL, probe_failures = 0, engine_report = '{}',
                status = CASE status WHEN 'failed' THEN 'provisioning' ELSE status END
            WHERE id = \(id) AND project_id = \(project)
            """)
    }

    // MARK: Words for the audit log

    /// Columns that change by themselves.
    static var passing: [String] { ["probed_at", "probe_failures", "ready_servers", "last_request_at", "engine_report"] }

    /// What the audit log keeps of an endpoint: no key, no header's value, no prompt. A new key shows in the generation.
    func auditJSON(_ id: ID<Endpoint>) throws -> String {
        try query(
            """
            SELECT (to_jsonb(e) - \(Self.passing)::text[]) || jsonb_build_object(
                'upstream_api_key', CASE WHEN upstream_api_key IS NULL THEN NULL ELSE 'set' END,
                'upstream_headers', ARRAY(SELECT jsonb_object_keys(upstream_headers)), 'defaults', defaults - 'system_prompt') AS json
            FROM endpoints e WHERE id = \(id) AND project_id = \(project)
            """)[0].get("json")
    }

    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}

extension EndpointObject {
    /// - Throws: 412 when it has changed since the client read it.
    func check(_ condition: EntityTags?) throws {
        guard let condition, !condition.match(generation) else { return }
        throw EndpointError.changed(to: generation)
    }
}

enum EndpointError: APIErrorConvertible, Equatable {
    case slugTaken(String)
    case slugKept(String)
    case tooMany(String)
    case changed(to: Int64)
    case notRunning

    var apiError: APIError {
        switch self {
        case .slugTaken(let slug): APIError(.slugTaken, "The project has an endpoint '\(slug)' already.", param: "slug")
        case .slugKept(let slug):
            APIError(.slugTaken, "An endpoint '\(slug)' was deleted less than 24 hours ago; its slug is not free yet.", param: "slug")
        case .tooMany(let limit):
            APIError(
                .quotaExceeded, "There can be \(limit). Delete one, or ask for more.", param: "tier", retryAfter: 3_600, strategy: .quota)
        case .changed(let generation):
            APIError(.versionConflict, "The endpoint has changed: its generation is \(generation) now. Read it again.", param: "If-Match")
        case .notRunning: APIError(.conflict, "The endpoint is inactive. Activate it instead.", param: "status")
        }
    }
}
