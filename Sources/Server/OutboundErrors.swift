import HTTPClient
import OpenAI

/// A refused call to a URL that a client gave. No message names an address that a host resolved to (02 §9).
extension OutboundRefusal: APIErrorConvertible {
    public var apiError: APIError { apiError(param: nil) }

    /// - Parameter param: the field that held the URL.
    public func apiError(param: String?) -> APIError {
        switch self {
        case .malformedURL(let reason): APIError(.invalidValue, "The URL is not valid. \(reason)", param: param)
        case .blocked(let reason): APIError(.egressBlocked, "The URL may not be called. \(reason)", param: param)
        case .header(let name):
            APIError(.invalidValue, "The header '\(name)' cannot be set, or its value holds a control character.", param: param)
        case .tooManyRedirects: APIError(.egressBlocked, "The URL redirects too often.", param: param)
        case .answerTooLarge: APIError(.egressBlocked, "The answer of the URL is too large.", param: param)
        case .unreachable: APIError(.upstreamError, "The URL could not be reached.", param: param)
        case .timedOut: APIError(.upstreamTimeout, "The URL did not answer in time.", param: param)
        case .tooManyAtOnce:
            APIError(
                .concurrencyExceeded, "Too many outbound calls of this project are running.", param: param, retryAfter: 1,
                strategy: .concurrency)
        }
    }
}
