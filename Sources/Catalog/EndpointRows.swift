import Crypto
import Foundation
import Logging
import OpenAI
import Postgres
import Tenancy

/// The kind under which an upstream's API key is sealed for its endpoint.
public let upstreamKeyKind = "upstream-key"

extension TenantConnection {
    /// One statement, so that endpoints, models and tiers are of one moment.
    func endpoints() throws -> [StoredEndpoint] {
        try query(
            """
            SELECT \(trusted: StoredEndpoint.columns)
            FROM endpoints e JOIN models m ON m.id = e.model_id JOIN service_tiers t ON t.slug = e.tier
            WHERE e.project_id = \(project) AND e.deleted_at IS NULL AND e.status <> 'deleted'
            ORDER BY (e.status = 'active') DESC, e.created_at, e.id
            """
        ).map { try $0.storedEndpoint(of: project) }
    }
}

/// An endpoint whose upstream's key is still sealed: opening it may ask for a data key, which wants a connection of its own.
struct StoredEndpoint {
    var record: EndpointRecord
    var sealedKey: [UInt8]?

    /// Of `endpoints e JOIN models m JOIN service_tiers t`.
    static let columns = """
        e.id, e.slug, e.aliases, e.status, e.generation, e.task_mode, e.model_id, m.name AS model_name,
            CASE WHEN e.model_version = 'latest' THEN COALESCE(e.active_version, m.version) ELSE e.model_version END AS model_version,
            LEAST(e.context_length, m.context_length) AS context_length,
            e.upstream_urls, e.upstream_engine, e.engine_report, e.upstream_model, e.upstream_api_key, e.upstream_health_path, e.upstream_headers, e.upstream_timeout_ms,
            e.upstream_max_concurrent, e.placement, e.limits, e.defaults, e.cors, e.prefix_cache, extract(epoch FROM e.created_at)::bigint AS created,
            \(ServiceTier.columns)
        """

    func opened(_ sealing: Sealing, logger: Logger) throws -> EndpointRecord {
        var endpoint = record
        do {
            endpoint.upstream.apiKey = try sealedKey.map {
                String(
                    decoding: try sealing.open(
                        project: endpoint.projectID.description, kind: upstreamKeyKind, object: endpoint.id.description, $0),
                    as: UTF8.self)
            }
        } catch let error as SealingError {
            // Only this endpoint cannot serve; without its key every call would be refused by the upstream.
            logger.error("an upstream key cannot be opened", metadata: ["endpoint": "\(endpoint.id)", "error": "\(error)"])
            endpoint.status = .failed
        }
        return endpoint
    }
}

extension Row {
    func storedEndpoint(of project: ID<Project>) throws -> StoredEndpoint {
        StoredEndpoint(record: try endpoint(of: project), sealedKey: try optional("upstream_api_key"))
    }

    private func endpoint(of project: ID<Project>) throws -> EndpointRecord {
        EndpointRecord(
            id: try get("id"), projectID: project, slug: try get("slug"), status: try named("status"), generation: try get("generation"),
            taskMode: try named("task_mode"), tier: try serviceTier(), modelID: try get("model_id"), modelName: try get("model_name"),
            modelVersion: try get("model_version"), contextLength: try optional("context_length"), upstream: try upstream(),
            limits: try decoded("limits"), defaults: try decoded("defaults"), cors: try cors(), createdAt: try get("created"),
            aliases: try texts("aliases"), report: try decoded("engine_report"),
            prefixCache: try get("prefix_cache"), placement: try decoded("placement"))
    }

    /// Most endpoints have the default, and share it.
    private func cors() throws -> CORSRules { try corsPolicy().map(CORSRules.init) ?? .standard }

    func upstream() throws -> UpstreamSettings {
        UpstreamSettings(
            urls: try texts("upstream_urls"), model: try optional("upstream_model"), healthPath: try get("upstream_health_path"),
            headers: try decoded("upstream_headers"), timeoutMilliseconds: try get("upstream_timeout_ms"),
            maxConcurrent: try get("upstream_max_concurrent"),
            engine: try optional("upstream_engine").flatMap(Engine.init(rawValue:)))
    }

    func named<Value: RawRepresentable>(_ column: String) throws -> Value where Value.RawValue == String {
        guard let value = Value(rawValue: try get(column)) else { throw PostgresError.column(column, problem: "is not a \(Value.self)") }
        return value
    }

    /// A `jsonb`.
    func decoded<Value: Decodable>(_ column: String) throws -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(try get(column, as: [UInt8].self)))
        } catch let error as DecodingError {
            throw PostgresError.column(column, problem: "is not a \(Value.self): \(error)")
        }
    }
}
