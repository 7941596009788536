import HTTPClient
import OpenAI

/// How an attempt ended without an answer.
enum UpstreamFailure: Equatable {
    case transfer(HTTPFailure.Kind)
    /// An answer with an error status; the body is judged apart.
    case status(Int, retryAfter: Int?)
    /// A success that is not what was asked for.
    case unreadable

    /// 05 §6: connect errors, losses, 429, 502, 503 and 504 are tried again.
    var isRetried: Bool {
        switch self {
        case .transfer(let kind): kind == .cannotConnect || kind == .lost
        case .status(let status, _): [429, 502, 503, 504].contains(status)
        case .unreadable: false
        }
    }

    /// In the words of the API (04 §2, 05 §10). 400, 413 and 422 are the client's and judged by their body; 404 is a wrong URL or model name of
    /// the operator's.
    var apiError: APIError {
        switch self {
        case .transfer(.cannotConnect): APIError(.noWorkerAvailable, "No model server is available right now.", retryAfter: 1)
        case .transfer(.malformed), .unreadable: APIError(.upstreamInvalidResponse, "The model server gave an answer that cannot be read.")
        case .transfer: APIError(.upstreamError, "The model server failed to answer.")
        case .status(429, let wait):
            APIError(.capacityExceeded, "The model server is at capacity.", retryAfter: min(30, max(1, wait ?? 1)), strategy: .capacity)
        case .status(503, let wait):
            APIError(.noWorkerAvailable, "No model server is available right now.", retryAfter: min(30, max(1, wait ?? 1)))
        case .status(504, _): APIError(.upstreamTimeout, "The model server ran out of time.")
        case .status: APIError(.upstreamError, "The model server failed to answer.")
        }
    }

    static func isClientFault(status: Int) -> Bool { [400, 413, 422].contains(status) }
}

/// Attempts before the first frame: at most two more, 100 ms x 2^n x (1 +- 0.2) apart.
enum UpstreamRetry {
    static let maximumAttempts = 3

    /// - Parameters:
    ///   - attempts: made so far, at least 1.
    ///   - jitter: in -0.2...0.2.
    static func pause(afterAttempts attempts: Int, jitter: Double) -> Duration {
        .milliseconds(100) * Double(1 << (attempts - 1)) * (1 + jitter)
    }
}
