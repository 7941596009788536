import Jobs
import OpenAI
import Postgres

extension UsageEvent {
    /// Writes usage rows together with what they owe, see `ledger_settle` in infra/postgres.
    public static let statement = CommitStatement(name: "settle", sql: "SELECT ledger_settle($1, $2::integer, $3::boolean)", form: .records)

    /// How usage rows stood in journals before there was a ledger.
    public static let journaledBeforeLedger: CommitStatement = {
        let columns = """
            id, project_id, endpoint_id, endpoint_slug, model_id, model_name, model_version, api_key_id, user_id, request_id, surface, \
            service_tier, tier, worker_id, is_xim, is_stream, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano, \
            price_nano_per_mtok, multiplier_bp, status_code, error_code, fault, finish_reason, cut_by_client, ttft_ms, latency_ms, queue_ms, \
            router_us, retries, region, created_at
            """
        return CommitStatement(
            name: "usage_event",
            sql: """
                INSERT INTO usage_events (\(columns))
                SELECT \(columns) FROM json_populate_recordset(NULL::usage_events, $1::json)
                ON CONFLICT DO NOTHING
                """)
    }()

    /// Every statement that commits of usage rows may name, also in journals of earlier versions.
    public static let statements = [statement, journaledBeforeLedger]

    /// The row as the committer takes it, with nothing held.
    public var commitRow: CommitRow { commitRow(hold: nil, held: 0) }

    /// The row as the committer takes it. What it costs is `costNano`.
    /// - Parameters:
    ///   - hold: where credit for the request is held.
    ///   - held: how much of it, in nano-USD.
    public func commitRow(hold: ID<CreditHold>?, held: Int64) -> CommitRow {
        // In the order of the type `settled_request`.
        var record = Record(capacity: 1_024)
        record.text(id)
        record.text(projectID.description)
        record.text(endpointID?.description)
        record.text(endpointSlug)
        record.text(modelID?.description)
        record.text(modelName)
        record.text(modelVersion)
        record.text(keyID?.description)
        record.text(userID)
        record.text(requestID)
        record.text(surface.rawValue)
        record.text(serviceTier)
        record.text(tier)
        record.text(workerID)
        record.bool(isXIM)
        record.bool(isStream)
        record.bigint(inputTokens)
        record.bigint(outputTokens)
        record.bigint(cachedTokens)
        record.bigint(reasoningTokens)
        record.bigint(costNano)
        record.bigint(priceNanoPerMtok)
        record.integer(multiplierBasisPoints)
        record.integer(statusCode)
        record.text(errorCode)
        record.text(fault.rawValue)
        record.text(finishReason)
        record.bool(isCutByClient)
        record.integer(timeToFirstTokenMilliseconds)
        record.integer(latencyMilliseconds)
        record.integer(queueMilliseconds)
        record.integer(routerMicroseconds)
        record.integer(retries)
        record.text(region)
        record.timestamp(microseconds: createdAtMicroseconds)
        record.text(hold?.description)
        record.bigint(held)
        return CommitRow(statement: Self.statement, record: record.finish())
    }
}
