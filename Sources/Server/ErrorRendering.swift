import JSON
import OpenAI
import Postgres

/// The one place that turns errors into the envelope of 04 §1.
public enum ErrorRendering {
    /// What the client is told about any error; what is not made for clients becomes 500 `internal_error`.
    public static func apiError(_ error: any Error) -> APIError {
        if let error = error as? PostgresError, error.isUnavailable { return .unavailable() }
        return (error as? any APIErrorConvertible)?.apiError
            ?? APIError(.internalError, "The server had an error while processing the request.")
    }

    /// - Parameter isRepeatable: whether the request may be sent again after a 500 (01 §7, 04 §5).
    package static func response(_ error: APIError, requestID: String, isRepeatable: Bool = true) -> Response {
        var headers = error.headers
        // A 429, and a fault that is not the client's, always says when to come back.
        let isPassing = error.code.status == 429 || (error.code.status >= 500 && error.code.retry == .yes)
        if let seconds = error.retryAfter ?? (isPassing ? 1 : nil) { headers.append(("Retry-After", String(seconds))) }
        let retriedByClients = [408, 409, 429].contains(error.code.status) || error.code.status >= 500
        if retriedByClients && (error.code.retry != .yes || (error.code.status == 500 && !isRepeatable)) {
            headers.append(("X-Should-Retry", "false"))
        }
        return .json(envelope(error, requestID: requestID), status: error.code.status, headers: headers)
    }

    /// `{"error":{…}}`, on one line: also the data of an error frame in a stream.
    public static func envelope(_ error: APIError, requestID: String) -> [UInt8] {
        var json = JSONWriter()
        json.raw(#"{"error":{"message":"#)
        json.string(error.message)
        json.raw(#","type":"#)
        json.string(error.code.type)
        json.raw(#","code":"#)
        json.string(error.code.name)
        json.raw(#","param":"#)
        json.string(error.param)
        json.raw(#","x_number":"#)
        json.integer(error.code.number)
        json.raw(#","x_request_id":"#)
        json.string(requestID)
        details(error, &json)
        if error.code.status == 429, let strategy = error.strategy {
            json.raw(#","retry_after":"#)
            json.integer(error.retryAfter ?? 1)
            json.raw(#","retry_strategy":{"type":"#)
            json.string(strategy.type)
            json.raw(#","initial_delay_ms":"#)
            json.integer(strategy.initialDelayMilliseconds)
            json.raw(#","max_delay_ms":"#)
            json.integer(strategy.maximumDelayMilliseconds)
            json.raw(#","multiplier":2.0,"jitter":0.2}"#)
        }
        json.raw("}}" as StaticString)
        return json.bytes
    }

    private static func details(_ error: APIError, _ json: inout JSONWriter) {
        for (index, detail) in error.details.enumerated() {
            json.raw(index == 0 ? #","x_details":{"# : ",")
            json.string(detail.name)
            json.raw(":" as StaticString)
            switch detail.value {
            case .string(let text): json.string(text)
            case .integer(let number): json.integer(number)
            }
        }
        if !error.details.isEmpty { json.raw("}" as StaticString) }
    }
}
