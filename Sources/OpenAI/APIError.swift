/// An error as the client sees it. Only the server renders it; everybody else throws it or something that converts to it.
public struct APIError: Error, Sendable, Equatable {
    public var code: ErrorCode
    /// Names field and limit; never a host, address, path, SQL, key or another tenant's id.
    public var message: String
    /// The field at fault, such as `messages[2].content`.
    public var param: String?
    /// Seconds to wait, for 429 and 503.
    public var retryAfter: Int?
    /// How clients should space their retries; only on 429.
    public var strategy: RetryStrategy?
    /// The members of `x_details`, where a section of the specification names them; empty = there is none.
    public var details: [(name: String, value: Detail)] = []
    /// More response headers that belong to this error, such as `Allow`.
    public var headers: [(name: String, value: String)] = []

    public enum Detail: Sendable, Equatable {
        case string(String)
        case integer(Int)
    }

    public init(
        _ code: ErrorCode, _ message: String, param: String? = nil, retryAfter: Int? = nil, strategy: RetryStrategy? = nil
    ) {
        self.code = code
        self.message = message
        self.param = param
        self.retryAfter = retryAfter
        self.strategy = strategy
    }

    public static func == (left: APIError, right: APIError) -> Bool {
        left.code == right.code && left.message == right.message && left.param == right.param && left.retryAfter == right.retryAfter
    }
}

/// The `retry_strategy` member of a 429.
public struct RetryStrategy: Sendable, Equatable {
    public var type: String
    public var initialDelayMilliseconds: Int
    public var maximumDelayMilliseconds: Int

    public init(type: String, initialDelayMilliseconds: Int, maximumDelayMilliseconds: Int) {
        self.type = type
        self.initialDelayMilliseconds = initialDelayMilliseconds
        self.maximumDelayMilliseconds = maximumDelayMilliseconds
    }

    public static let concurrency = RetryStrategy(
        type: "exponential_backoff", initialDelayMilliseconds: 250, maximumDelayMilliseconds: 10_000)
    public static let capacity = RetryStrategy(
        type: "exponential_backoff", initialDelayMilliseconds: 1_000, maximumDelayMilliseconds: 60_000)
    public static let quota = RetryStrategy(type: "none", initialDelayMilliseconds: 0, maximumDelayMilliseconds: 0)
    /// The first delay is the time until the bucket has refilled.
    public static func rate(refillMilliseconds: Int) -> RetryStrategy {
        RetryStrategy(type: "fixed_delay", initialDelayMilliseconds: refillMilliseconds, maximumDelayMilliseconds: 60_000)
    }
}

/// A domain error that knows how clients see it.
public protocol APIErrorConvertible: Error {
    var apiError: APIError { get }
}

extension APIError: APIErrorConvertible {
    public var apiError: APIError { self }
}

extension APIError {
    public static func invalid(_ param: String, _ message: String) -> APIError { APIError(.invalidValue, message, param: param) }
    public static func missing(_ param: String) -> APIError {
        APIError(.missingRequiredParameter, "Missing required parameter: '\(param)'.", param: param)
    }
    /// Our own fault for now; the same request may succeed after a moment.
    public static func unavailable(_ message: String = "The service is temporarily unavailable.") -> APIError {
        APIError(.serviceUnavailable, message, retryAfter: 1)
    }
}
