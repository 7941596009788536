/// A documented error code: what clients branch on, and all that follows from it.
public struct ErrorCode: Sendable, Equatable {
    /// Who caused the error, as written to usage rows.
    public enum Fault: String, Sendable { case none, client, agent, router, policy }
    /// Whether the same request may be sent again: `no`, after changing it, or as it is.
    public enum Retry: String, Sendable {
        case no
        case afterFix = "fix"
        case yes
    }

    /// The stable name, such as `model_not_found`.
    public let name: String
    /// The HTTP status; 200 for errors that travel inside a stream.
    public let status: Int
    /// The stable number: HTTP status x 100 + ordinal.
    public let number: Int
    public let type: String
    public let fault: Fault
    public let retry: Retry

    /// - Parameter status: where it is not that of the number.
    init(
        _ name: String, _ number: Int, _ type: String? = nil, status: Int? = nil, fault: Fault = .client, retry: Retry = .afterFix
    ) {
        self.name = name
        self.number = number
        self.fault = fault
        self.retry = retry
        self.status = status ?? (number >= 60000 ? 200 : number / 100)
        self.type = type ?? Self.defaultType(number, status: self.status)
    }

    private static func defaultType(_ number: Int, status: Int) -> String {
        switch status {
        case 401: "authentication_error"
        case 402: "quota_error"
        case 403: "authorization_error"
        case 404, 410: "not_found_error"
        case 409, 412: "conflict_error"
        case 429: "rate_limit_error"
        case 500: "internal_error"
        case 424, 502...504: "service_error"
        case 200: "stream_error"
        // The second half of each status is the block of execution.
        default: number % 100 >= 50 ? "validation_error" : "invalid_request_error"
        }
    }
}

extension ErrorCode {
    public static let invalidRequest = ErrorCode("invalid_request", 40000)
    public static let jsonParseError = ErrorCode("json_parse_error", 40001)
    public static let contextLengthExceeded = ErrorCode("context_length_exceeded", 40002)
    public static let invalidMessages = ErrorCode("invalid_messages", 40003)
    public static let unsupportedParameter = ErrorCode("unsupported_parameter", 40004)
    public static let unsupportedCombination = ErrorCode("unsupported_combination", 40005)
    public static let unsupportedValue = ErrorCode("unsupported_value", 40006)
    public static let unsupportedContent = ErrorCode("unsupported_content", 40007)
    public static let unsupportedModality = ErrorCode("unsupported_modality", 40008)
    public static let invalidToolName = ErrorCode("invalid_tool_name", 40009)
    public static let invalidFunctionSchema = ErrorCode("invalid_function_schema", 40011)
    public static let invalidToolSequence = ErrorCode("invalid_tool_sequence", 40012)
    public static let toolNotFound = ErrorCode("tool_not_found", 40013)
    public static let tooManyTools = ErrorCode("too_many_tools", 40015)
    public static let tooManyDocuments = ErrorCode("too_many_documents", 40016)
    public static let taskModeMismatch = ErrorCode("task_mode_mismatch", 40017)
    public static let jsonTooDeep = ErrorCode("json_too_deep", 40018)
    public static let egressBlocked = ErrorCode("egress_blocked", 40019, fault: .policy, retry: .no)
    public static let invalidValue = ErrorCode("invalid_value", 40030)
    public static let missingRequiredParameter = ErrorCode("missing_required_parameter", 40031)
    public static let invalidCursor = ErrorCode("invalid_cursor", 40032)
    public static let invalidMetadata = ErrorCode("invalid_metadata", 40033)
    public static let invalidVersion = ErrorCode("invalid_version", 40034)
    public static let invalidScope = ErrorCode("invalid_scope", 40036)
    public static let invalidEventType = ErrorCode("invalid_event_type", 40037)
    public static let invalidCORSPolicy = ErrorCode("invalid_cors_policy", 40038)

    public static let authenticationError = ErrorCode("authentication_error", 40100, retry: .no)
    public static let invalidJoinKey = ErrorCode("invalid_join_key", 40150, retry: .no)
    public static let invalidAgentToken = ErrorCode("invalid_agent_token", 40151, retry: .no)
    public static let apiKeyExpired = ErrorCode("api_key_expired", 40102, retry: .no)

    public static let insufficientCredits = ErrorCode("insufficient_credits", 40200)
    public static let budgetExceeded = ErrorCode("budget_exceeded", 40201)

    public static let scopeInsufficient = ErrorCode("scope_insufficient", 40300, "authentication_error", retry: .no)
    public static let crossProjectAccess = ErrorCode("cross_project_access", 40301, "forbidden_error", retry: .no)
    public static let ipNotAllowed = ErrorCode("ip_not_allowed", 40302, "forbidden_error", fault: .policy, retry: .no)
    public static let endpointMismatch = ErrorCode("endpoint_mismatch", 40303, "forbidden_error", retry: .no)
    public static let originNotAllowed = ErrorCode("origin_not_allowed", 40309, "forbidden_error", fault: .policy, retry: .no)
    public static let permissionDenied = ErrorCode("permission_denied", 40305, retry: .no)
    public static let tierNotAllowed = ErrorCode("tier_not_allowed", 40306, fault: .policy, retry: .no)

    public static let notFound = ErrorCode("not_found", 40400, retry: .no)
    public static let projectNotFound = ErrorCode("project_not_found", 40401, retry: .no)
    public static let endpointNotFound = ErrorCode("endpoint_not_found", 40402, retry: .no)
    public static let modelNotFound = ErrorCode("model_not_found", 40404, retry: .no)
    public static let invalidPath = ErrorCode("invalid_path", 40024)
    public static let emptyFile = ErrorCode("empty_file", 40025)
    public static let fileTooLarge = ErrorCode("file_too_large", 41301)
    public static let rangeNotSatisfiable = ErrorCode("range_not_satisfiable", 41600)
    public static let storageUnavailable = ErrorCode("storage_unavailable", 50303, fault: .router, retry: .yes)
    public static let fileNotFound = ErrorCode("file_not_found", 40408, retry: .no)
    public static let webhookNotFound = ErrorCode("webhook_not_found", 40418, retry: .no)
    public static let keyNotFound = ErrorCode("key_not_found", 40421, retry: .no)
    public static let agentNotFound = ErrorCode("agent_not_found", 40450, retry: .no)
    public static let joinKeyNotFound = ErrorCode("join_key_not_found", 40451, retry: .no)

    public static let methodNotAllowed = ErrorCode("method_not_allowed", 40500, retry: .no)
    public static let conflict = ErrorCode("conflict", 40900)
    public static let joinKeyConsumed = ErrorCode("join_key_consumed", 40952, retry: .no)
    public static let registrationNameTaken = ErrorCode("registration_name_taken", 40953, retry: .no)
    public static let joinKeyExpired = ErrorCode("join_key_expired", 41050, retry: .no)
    public static let slugTaken = ErrorCode("slug_taken", 40914)
    public static let idempotencyConflict = ErrorCode("idempotency_conflict", 40902)
    public static let idempotencyInProgress = ErrorCode("idempotency_in_progress", 40903, retry: .yes)
    public static let requestTimeout = ErrorCode("request_timeout", 40800, retry: .yes)
    public static let versionConflict = ErrorCode("version_conflict", 41200)
    public static let requestTooLarge = ErrorCode("request_too_large", 41300)
    /// The same code with HTTP's own status for headers.
    public static let headersTooLarge = ErrorCode("request_too_large", 41300, status: 431)
    public static let unsupportedMediaType = ErrorCode("unsupported_media_type", 41500)

    public static let rateLimitExceeded = ErrorCode("rate_limit_exceeded", 42900, retry: .yes)
    public static let quotaExceeded = ErrorCode("quota_exceeded", 42901, "quota_error", retry: .no)
    public static let capacityExceeded = ErrorCode("capacity_exceeded", 42902, "service_error", fault: .agent, retry: .yes)
    public static let concurrencyExceeded = ErrorCode("concurrency_exceeded", 42903, retry: .yes)

    /// Only for logs and usage rows: the client is gone, so nobody reads an answer.
    public static let clientClosedRequest = ErrorCode("client_closed_request", 49900, "cancelled", retry: .no)

    public static let internalError = ErrorCode("internal_error", 50000, fault: .router, retry: .yes)
    public static let storageCorrupt = ErrorCode("storage_corrupt", 50001, fault: .router, retry: .no)
    public static let workerError = ErrorCode("worker_error", 50200, fault: .agent, retry: .yes)
    public static let upstreamError = ErrorCode("upstream_error", 50202, fault: .agent, retry: .yes)
    public static let upstreamInvalidResponse = ErrorCode("upstream_invalid_response", 50203, fault: .agent, retry: .yes)
    public static let toolArgumentsInvalid = ErrorCode("tool_arguments_invalid", 50204, fault: .agent, retry: .yes)
    public static let serviceUnavailable = ErrorCode("service_unavailable", 50300, fault: .router, retry: .yes)
    public static let endpointInactive = ErrorCode("endpoint_inactive", 50301, fault: .agent, retry: .yes)
    public static let noWorkerAvailable = ErrorCode("no_worker_available", 50302, fault: .agent, retry: .yes)
    public static let draining = ErrorCode("draining", 50304, fault: .router, retry: .yes)
    public static let gatewayTimeout = ErrorCode("gateway_timeout", 50400, fault: .agent, retry: .yes)
    public static let upstreamTimeout = ErrorCode("upstream_timeout", 50401, fault: .agent, retry: .yes)

    public static let streamError = ErrorCode("stream_error", 60000, fault: .agent, retry: .yes)
    public static let streamIdleTimeout = ErrorCode("stream_idle_timeout", 60001, fault: .agent, retry: .yes)
    public static let streamInterrupted = ErrorCode("stream_interrupted", 60002, fault: .agent, retry: .yes)
}
