/// Why a call to a URL that a tenant gave was not made, or its answer not taken. No text of it names an address that a host resolved to.
public enum OutboundRefusal: Error, Sendable, Equatable {
    /// It is no URL that we call.
    case malformedURL(String)
    /// The outbound guard forbids it.
    case blocked(String)
    /// A header that callers may not set, or one that holds a line break.
    case header(String)
    /// No connection, a bad certificate, a broken answer.
    case unreachable(HTTPFailure.Kind)
    case timedOut
    case tooManyRedirects
    /// More than the limit, also counted after decompression, or compressed beyond belief.
    case answerTooLarge
    /// The project has as many calls running as it may.
    case tooManyAtOnce
}
