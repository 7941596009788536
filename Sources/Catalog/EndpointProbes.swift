import Crypto
import Foundation
import Logging
import Mesh
import OpenAI
import Postgres
import Server
import Tenancy

/// Which endpoints' servers are to be asked for their health, and what came of it, as Postgres keeps it for all gateways together (07 §6).
public struct EndpointProbes: Sendable {
    private let database: SystemDatabase
    private let sealing: Sealing
    private let invalidations: Invalidations
    private let interval: Duration
    private let timeScale: Double
    private let logger: Logger

    /// Of `interval`s: a failed endpoint is asked more seldom.
    private static let pauseOfFailed = 4
    /// So many rounds in a row in which some server does not answer make an endpoint degraded, or end its provisioning.
    private static let mostFailures = 3

    /// - Parameter interval: between two probes of an endpoint.
    public init(
        database: SystemDatabase, sealing: Sealing, invalidations: Invalidations, interval: Duration = .seconds(15), timeScale: Double,
        logger: Logger
    ) {
        self.database = database
        self.sealing = sealing
        self.invalidations = invalidations
        self.interval = interval
        self.timeScale = timeScale
        self.logger = logger
    }

    /// Endpoints that are due, for this process alone: the next one to ask gets others.
    public func claim(atMost count: Int) throws -> [EndpointRecord] {
        let seconds = (interval / .seconds(1)) * timeScale
        let stored = try database.withConnection {
            try $0.claimProbes(count, seconds: seconds, secondsOfFailed: seconds * Double(Self.pauseOfFailed))
        }
        return try stored.map { try $0.opened(sealing, logger: logger) }
    }

    /// Notes what a round of probes found, unless the endpoint has changed meanwhile.
    /// - Parameter engine: nil = its server gave no list of models; what it said before holds on.
    public func report(_ endpoint: EndpointRecord, ready: Int, engine: ModelFacts? = nil) throws {
        let isChanged = try database.withConnection { connection in
            let found = try engine ?? (endpoint.upstream.urls.isEmpty ? connection.reportOfAgents(for: endpoint) : nil)
            return try connection.noteProbe(of: endpoint, ready: ready, found ?? endpoint.report, mostFailures: Self.mostFailures)
        }
        if isChanged { invalidations.publish("project:\(endpoint.projectID)") }
    }

    /// Those whose last request must have ended by now are gone.
    public func finishDeletions() throws {
        _ = try database.withConnection {
            try $0.query(
                """
                UPDATE endpoints e SET status = 'deleted' FROM service_tiers t
                WHERE t.slug = e.tier AND e.status = 'deleting'
                    AND e.deleted_at < now() - make_interval(secs => t.request_timeout_s * \(timeScale)::double precision)
                """)
        }
    }
}

extension SystemConnection {
    fileprivate func claimProbes(_ count: Int, seconds: Double, secondsOfFailed: Double) throws -> [StoredEndpoint] {
        try query(
            """
            WITH due AS (
                SELECT id FROM endpoints
                WHERE deleted_at IS NULL AND status IN ('provisioning', 'active', 'degraded', 'failed')
                    AND (probed_at IS NULL OR probed_at < now() - make_interval(secs =>
                        CASE status WHEN 'failed' THEN \(secondsOfFailed)::double precision ELSE \(seconds)::double precision END))
                ORDER BY probed_at NULLS FIRST LIMIT \(count) FOR UPDATE SKIP LOCKED),
            claimed AS (UPDATE endpoints SET probed_at = now() FROM due WHERE endpoints.id = due.id RETURNING endpoints.*)
            SELECT e.project_id, \(trusted: StoredEndpoint.columns)
            FROM claimed e JOIN models m ON m.id = e.model_id JOIN service_tiers t ON t.slug = e.tier
            """
        ).map { try $0.storedEndpoint(of: $0.get("project_id")) }
    }

    /// What the engines of the agents say that serve an endpoint without an upstream, as far as they agree. Who has the context and the eyes for a request the
    /// router knows, so of those it is the most that counts; nil where one does not say.
    /// - Returns: nil where none is connected.
    fileprivate func reportOfAgents(for endpoint: EndpointRecord) throws -> ModelFacts? {
        let row = try query(
            """
            SELECT count(*) AS models, CASE WHEN count(DISTINCT coalesce(m->>'engine', '')) = 1 THEN min(m->>'engine') END AS engine,
                CASE WHEN count(m->>'context_length') = count(*) THEN max((m->>'context_length')::bigint) END AS context_length,
                min((m->>'vocabulary')::bigint) AS vocabulary,
                CASE WHEN count(m->>'reads_images') = count(*) THEN bool_or((m->>'reads_images')::boolean) END AS reads_images,
                bool_and((m->>'reads_audio')::boolean) AS reads_audio
            FROM agents a, jsonb_array_elements(a.models) m
            WHERE (a.project_id = \(endpoint.projectID) OR a.project_id IS NULL) AND a.revoked_at IS NULL AND a.is_online AND NOT a.awaits_approval
                AND \(endpoint.tier.slug) = ANY (a.served_tiers)
                AND m->>'model_id' = \(endpoint.upstreamModel) AND m->>'state' = 'ready'
            """)[0]
        guard try row.get("models", as: Int.self) > 0 else { return nil }
        return ModelFacts(
            engine: try row.optional("engine"), contextLength: try row.optional("context_length"),
            vocabulary: try row.optional("vocabulary"), readsImages: try row.optional("reads_images"),
            readsAudio: try row.optional("reads_audio"))
    }

    /// - Returns: whether the status is another one now, or the server another engine's.
    fileprivate func noteProbe(of endpoint: EndpointRecord, ready: Int, _ engine: ModelFacts, mostFailures: Int) throws -> Bool {
        let servers = endpoint.upstream.urls.count
        let isWell = ready == servers
        let report = String(decoding: try JSONEncoder().encode(engine), as: UTF8.self)
        let rows = try query(
            """
            WITH before AS (
                SELECT id, status, engine_report FROM endpoints
                WHERE id = \(endpoint.id) AND project_id = \(endpoint.projectID) AND generation = \(endpoint.generation)
                    AND deleted_at IS NULL AND status IN ('provisioning', 'active', 'degraded', 'failed')
                FOR UPDATE),
            noted AS (
                UPDATE endpoints e SET ready_servers = \(ready), engine_report = \(report)::jsonb,
                    probe_failures = CASE WHEN \(isWell) THEN 0 ELSE LEAST(e.probe_failures + 1, 1000000) END,
                    status = CASE
                        WHEN \(isWell) OR (\(ready) > 0 AND e.status IN ('provisioning', 'failed')) THEN 'active'
                        WHEN e.probe_failures + 1 < \(mostFailures) THEN e.status
                        WHEN e.status = 'active' THEN 'degraded'
                        WHEN e.status = 'provisioning' THEN 'failed'
                        ELSE e.status END,
                    status_detail = CASE WHEN \(isWell) THEN NULL ELSE \("\(ready) of \(servers) upstream servers answer their health probe.") END
                FROM before WHERE e.id = before.id
                RETURNING e.status <> before.status OR e.engine_report <> before.engine_report AS is_changed)
            SELECT is_changed FROM noted
            """)
        return try rows.first?.get("is_changed") ?? false
    }
}
