import Jobs

extension UsageEvent {
    /// `xid` and `ledger_tx_id` are not among the columns: the first has its default, the second comes with the ledger.
    public static let statement: CommitStatement = {
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

    /// The row as the committer takes it.
    public var commitRow: CommitRow {
        var object = RowObject()
        object.add("id", id)
        object.add("project_id", projectID.description)
        object.add("endpoint_id", endpointID?.description)
        object.add("endpoint_slug", endpointSlug)
        object.add("model_id", modelID?.description)
        object.add("model_name", modelName)
        object.add("model_version", modelVersion)
        object.add("api_key_id", keyID?.description)
        object.add("user_id", userID)
        object.add("request_id", requestID)
        object.add("surface", surface.rawValue)
        object.add("service_tier", serviceTier)
        object.add("tier", tier)
        object.add("worker_id", workerID)
        object.add("is_xim", isXIM)
        object.add("is_stream", isStream)
        object.add("input_tokens", inputTokens)
        object.add("output_tokens", outputTokens)
        object.add("cached_tokens", cachedTokens)
        object.add("reasoning_tokens", reasoningTokens)
        object.add("cost_nano", costNano)
        object.add("price_nano_per_mtok", priceNanoPerMtok)
        object.add("multiplier_bp", multiplierBasisPoints)
        object.add("status_code", statusCode)
        object.add("error_code", errorCode)
        object.add("fault", fault.rawValue)
        object.add("finish_reason", finishReason)
        object.add("cut_by_client", isCutByClient)
        object.add("ttft_ms", timeToFirstTokenMilliseconds)
        object.add("latency_ms", latencyMilliseconds)
        object.add("queue_ms", queueMilliseconds)
        object.add("router_us", routerMicroseconds)
        object.add("retries", retries)
        object.add("region", region)
        object.add("created_at", UTCTime.text(microseconds: createdAtMicroseconds))
        return CommitRow(statement: Self.statement, json: object.finish())
    }
}
