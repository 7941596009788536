import OpenAI
import Postgres
import Server
import Tenancy

/// One request as `/requests` shows it; see `UsageEvent`.
struct UsageRequest: Sendable {
    /// The request's, or, for what it had done besides, such as a web search, that and the row's own: `req_….use_…`.
    var id: String
    var created: Int
    var requestID: String
    var endpointID: String?
    var endpoint: String?
    /// Of the endpoint now; `Deleted` where it is gone.
    var endpointStatus: String?
    var modelID: String?
    var model: String?
    var modelVersion: String?
    var keyID: String?
    var userID: String?
    var surface: String
    var serviceTier: String
    var tier: String
    var isXIM: Bool
    var isStream: Bool
    var inputTokens: Int
    var outputTokens: Int
    var cachedTokens: Int
    var reasoningTokens: Int
    var cost: Int64
    var pricePerMtok: Int64
    var multiplierBasisPoints: Int
    var status: Int
    var errorCode: String?
    var fault: String
    var finishReason: String?
    var isCutByClient: Bool
    var timeToFirstToken: Int?
    var latency: Int
    var ledgerTransaction: String?
    var worker: String?
    var queue: Int
    var router: Int
    var retries: Int
    var region: String?

    static let table = UsageTable<UsageRequest>(object: "usage.request", columns: columns)
    /// With how the request was routed.
    static let detail = UsageTable<UsageRequest>(object: "usage.request", columns: columns + routing)

    private static let columns: [UsageColumn<UsageRequest>] = [
        UsageColumn("id") { .text($0.id) },
        UsageColumn("created_at") { .integer($0.created) },
        UsageColumn("request_id") { .text($0.requestID) },
        UsageColumn("endpoint_id") { .text($0.endpointID) },
        UsageColumn("endpoint") { .text($0.endpoint) },
        UsageColumn("endpoint_status") { .text($0.endpointStatus) },
        UsageColumn("model_id") { .text($0.modelID) },
        UsageColumn("model") { .text($0.model) },
        UsageColumn("model_version") { .text($0.modelVersion) },
        UsageColumn("api_key_id") { .text($0.keyID) },
        UsageColumn("user_id") { .text($0.userID) },
        UsageColumn("surface") { .text($0.surface) },
        UsageColumn("service_tier") { .text($0.serviceTier) },
        UsageColumn("tier") { .text($0.tier) },
        UsageColumn("is_xim") { .bool($0.isXIM) },
        UsageColumn("is_stream") { .bool($0.isStream) },
        UsageColumn("input_tokens") { .integer($0.inputTokens) },
        UsageColumn("output_tokens") { .integer($0.outputTokens) },
        UsageColumn("cached_tokens") { .integer($0.cachedTokens) },
        UsageColumn("reasoning_tokens") { .integer($0.reasoningTokens) },
        UsageColumn("cost") { .dollars($0.cost) },
        UsageColumn("price_per_mtok") { .dollars($0.pricePerMtok) },
        UsageColumn("multiplier_bp") { .integer($0.multiplierBasisPoints) },
        UsageColumn("status") { .integer($0.status) },
        UsageColumn("error_code") { .text($0.errorCode) },
        UsageColumn("fault") { .text($0.fault) },
        UsageColumn("finish_reason") { .text($0.finishReason) },
        UsageColumn("cut_by_client") { .bool($0.isCutByClient) },
        UsageColumn("ttft_ms") { .integer($0.timeToFirstToken) },
        UsageColumn("latency_ms") { .integer($0.latency) },
        UsageColumn("ledger_transaction_id") { .text($0.ledgerTransaction) },
    ]

    private static let routing: [UsageColumn<UsageRequest>] = [
        UsageColumn("worker_id") { .text($0.worker) },
        UsageColumn("queue_ms") { .integer($0.queue) },
        UsageColumn("router_us") { .integer($0.router) },
        UsageColumn("retries") { .integer($0.retries) },
        UsageColumn("region") { .text($0.region) },
    ]
}

/// Which requests are wanted; nil = all.
struct UsageFilter: Sendable, Equatable {
    var endpointID: ID<Endpoint>?
    var endpointSlug: String?
    /// The first and the last status of HTTP.
    var statuses: ClosedRange<Int>?
    var key: ID<APIKey>?
    var model: String?
    var minLatency: Int?
    /// Unix seconds, from this one on and before this one.
    var from: Int?
    var to: Int?

    static let names = ["endpoint", "status", "key", "model", "min_latency_ms", "from", "to"]

    init(_ query: Query) throws {
        if let text = query["endpoint"] {
            endpointID = ID(text)
            endpointSlug = endpointID == nil ? text : nil
            guard endpointID != nil || Slug.isEndpoint(text) else {
                throw APIError.invalid("endpoint", "'endpoint' must be the slug or the identifier of an endpoint.")
            }
        }
        statuses = try query["status"].map(Self.statuses)
        if let text = query["key"] {
            guard let id = ID<APIKey>(text) else { throw APIError.invalid("key", "'key' must be the identifier of a key, key_….") }
            key = id
        }
        model = query["model"]
        if let model, !(1...128).contains(model.unicodeScalars.count) || model.utf8.contains(0) {
            throw APIError.invalid("model", "'model' must be the name of a model, of 1 to 128 characters.")
        }
        if let text = query["min_latency_ms"] {
            guard let number = Int(text), (0...86_400_000).contains(number) else {
                throw APIError.invalid("min_latency_ms", "'min_latency_ms' must be between 0 and 86400000.")
            }
            minLatency = number
        }
        from = try UsageRange.bound("from", query, isEnd: false)
        to = try UsageRange.bound("to", query, isEnd: true)
        if let from, let to, to <= from { throw APIError.invalid("to", "'to' must be after 'from'.") }
    }

    /// `404`, or a class such as `4xx`.
    private static func statuses(_ text: String) throws -> ClosedRange<Int> {
        if text.utf8.count == 3, text.hasSuffix("xx"), let hundred = text.first?.wholeNumberValue, (1...5).contains(hundred) {
            return (hundred * 100)...(hundred * 100 + 99)
        }
        guard let status = Int(text), (100...599).contains(status) else {
            throw APIError.invalid("status", "'status' must be a status of HTTP such as 404, or a class of them such as 4xx.")
        }
        return status...status
    }
}

extension TenantConnection {
    /// The newest first, by time and identifier.
    /// - Parameter pin: only requests of this endpoint (by slug); nil = of all.
    func usageRequests(_ filter: UsageFilter, pin: String?, _ list: ListQuery) throws -> ListPage<UsageRequest> {
        let after = try place(of: list.after, "after")
        let before = try place(of: list.before, "before")
        let rows = try query(
            """
            SELECT \(trusted: UsageRequest.selection) FROM (
                SELECT * FROM usage_events u
                WHERE project_id = \(project)
                    AND (\(filter.from)::bigint IS NULL OR created_at >= to_timestamp(\(filter.from)))
                    AND (\(filter.to)::bigint IS NULL OR created_at < to_timestamp(\(filter.to)))
                    AND (\(filter.endpointID)::text IS NULL OR endpoint_id = \(filter.endpointID))
                    AND (\(filter.endpointSlug)::text IS NULL OR endpoint_slug = \(filter.endpointSlug))
                    AND (\(pin)::text IS NULL OR endpoint_slug = \(pin))
                    AND (\(filter.statuses?.lowerBound)::integer IS NULL
                        OR status_code BETWEEN \(filter.statuses?.lowerBound)::integer AND \(filter.statuses?.upperBound)::integer)
                    AND (\(filter.key)::text IS NULL OR api_key_id = \(filter.key))
                    AND (\(filter.model)::text IS NULL OR model_name = \(filter.model))
                    AND (\(filter.minLatency)::integer IS NULL OR latency_ms >= \(filter.minLatency)::integer)
                    AND (\(after?.at)::timestamptz IS NULL OR (created_at, request_id, id) \(trusted: list.afterSide)
                        (\(after?.at)::timestamptz, \(after?.requestID)::text, \(after?.id)::text))
                    AND (\(before?.at)::timestamptz IS NULL OR (created_at, request_id, id) \(trusted: list.beforeSide)
                        (\(before?.at)::timestamptz, \(before?.requestID)::text, \(before?.id)::text))
                ORDER BY created_at \(trusted: list.direction), request_id \(trusted: list.direction), id \(trusted: list.direction)
                LIMIT \(list.rows)) u
            LEFT JOIN endpoints e ON e.id = u.endpoint_id AND e.project_id = \(project)
            ORDER BY u.created_at \(trusted: list.direction), u.request_id \(trusted: list.direction), u.id \(trusted: list.direction)
            """)
        return list.page(try rows.map(UsageRequest.init))
    }

    /// The request itself, before anything that it had done besides; nil when the project has no such request.
    func usageRequest(_ id: ID<HTTPRequest>, pin: String?) throws -> UsageRequest? {
        try query(
            """
            SELECT \(trusted: UsageRequest.selection) FROM usage_events u
            LEFT JOIN endpoints e ON e.id = u.endpoint_id AND e.project_id = \(project)
            WHERE u.project_id = \(project) AND u.request_id = \(id) AND (\(pin)::text IS NULL OR u.endpoint_slug = \(pin))
            ORDER BY u.id <> u.request_id, u.created_at, u.id LIMIT 1
            """
        ).first.map(UsageRequest.init)
    }

    private struct Place {
        var at: String
        var requestID: String
        var id: String
    }

    /// Where a request stands that a client names.
    private func place(of cursor: String?, _ name: String) throws -> Place? {
        guard let cursor else { return nil }
        let parts = cursor.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let requestID = ID<HTTPRequest>(parts[0]), parts.count == 1 || (1...64).contains(parts[1].utf8.count),
            !cursor.utf8.contains(0),
            let row = try query(
                """
                SELECT created_at, id FROM usage_events
                WHERE request_id = \(requestID) AND project_id = \(project) AND id = \(parts.count == 1 ? parts[0] : parts[1])
                """
            ).first
        else { throw ListQuery.badCursor(name) }
        return Place(at: try row.get("created_at"), requestID: requestID.description, id: try row.get("id"))
    }
}

extension UsageRequest {
    /// Of usage_events as `u`, joined with its endpoint as `e`.
    fileprivate static let selection = """
        CASE WHEN u.id = u.request_id THEN u.id ELSE u.request_id || '.' || u.id END AS shown_id,
        floor(extract(epoch FROM u.created_at))::bigint AS created, u.request_id, u.endpoint_id, u.endpoint_slug,
        CASE WHEN u.endpoint_id IS NULL THEN NULL WHEN e.id IS NULL OR e.deleted_at IS NOT NULL OR e.status = 'deleted' THEN 'Deleted'
            ELSE e.status END AS endpoint_status,
        u.model_id, u.model_name, u.model_version, u.api_key_id, u.user_id, u.surface, u.service_tier, u.tier, u.is_xim, u.is_stream,
        u.input_tokens, u.output_tokens, u.cached_tokens, u.reasoning_tokens, u.cost_nano, u.price_nano_per_mtok, u.multiplier_bp,
        u.status_code, u.error_code, u.fault, u.finish_reason, u.cut_by_client, u.ttft_ms, u.latency_ms, u.ledger_tx_id, u.worker_id,
        u.queue_ms, u.router_us, u.retries, u.region
        """

    fileprivate init(_ row: Row) throws {
        id = try row.get("shown_id")
        created = try row.get("created")
        requestID = try row.get("request_id")
        endpointID = try row.optional("endpoint_id")
        endpoint = try row.optional("endpoint_slug")
        endpointStatus = try row.optional("endpoint_status")
        modelID = try row.optional("model_id")
        model = try row.optional("model_name")
        modelVersion = try row.optional("model_version")
        keyID = try row.optional("api_key_id")
        userID = try row.optional("user_id")
        surface = try row.get("surface")
        serviceTier = try row.get("service_tier")
        tier = try row.get("tier")
        isXIM = try row.get("is_xim")
        isStream = try row.get("is_stream")
        inputTokens = try row.get("input_tokens")
        outputTokens = try row.get("output_tokens")
        cachedTokens = try row.get("cached_tokens")
        reasoningTokens = try row.get("reasoning_tokens")
        cost = try row.get("cost_nano")
        pricePerMtok = try row.get("price_nano_per_mtok")
        multiplierBasisPoints = try row.get("multiplier_bp")
        status = try row.get("status_code")
        errorCode = try row.optional("error_code")
        fault = try row.get("fault")
        finishReason = try row.optional("finish_reason")
        isCutByClient = try row.get("cut_by_client")
        timeToFirstToken = try row.optional("ttft_ms")
        latency = try row.get("latency_ms")
        ledgerTransaction = try row.optional("ledger_tx_id")
        worker = try row.optional("worker_id")
        queue = try row.get("queue_ms")
        router = try row.get("router_us")
        retries = try row.get("retries")
        region = try row.optional("region")
    }
}
