import Catalog
import OpenAI
import Server

/// What the headers of a request say about the choice of its worker (01 §7): checked on every call, weighed where workers are chosen.
struct RoutingHeaders {
    /// Hints in milliseconds, never enforced (05 §7).
    let timeToFirstToken: Int?
    let timePerToken: Int?
    /// The only region that may answer.
    let region: String?
    /// The prompt may be found in, and stay in, the cache of an engine.
    let allowsPrefixCache: Bool

    /// - Throws: `APIError` 400 that names the header.
    init(_ request: Request) throws {
        timeToFirstToken = try Self.hint(request.header("HTTP_X_SLO_TTFT_MS"), "X-SLO-TTFT-Ms", 1...600_000)
        timePerToken = try Self.hint(request.header("HTTP_X_SLO_TPOT_MS"), "X-SLO-TPOT-Ms", 1...60_000)
        region = try request.header("HTTP_X_XEROTIER_REGION").map(Self.region)
        allowsPrefixCache = Self.allowsPrefixCache(request)
    }

    static func allowsPrefixCache(_ request: Request) -> Bool { request.header("HTTP_X_XEROTIER_PREFIX_CACHE") != "off" }

    /// - Throws: 503 where no worker of the region can ever answer: nobody knows where an upstream of the endpoint's own is.
    func check(_ endpoint: EndpointRecord) throws {
        guard region != nil && !endpoint.isServedByAgents else { return }
        throw APIError(
            .noWorkerAvailable, "The endpoint is served by an upstream whose region is not known; leave X-Xerotier-Region out.",
            param: "X-Xerotier-Region", retryAfter: 30)
    }

    private static func hint(_ text: String?, _ name: String, _ range: ClosedRange<Int>) throws -> Int? {
        guard let text else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw APIError.invalid(name, "'\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound).")
        }
        return value
    }

    private static func region(_ text: String) throws -> String {
        guard EndpointPlacement.isRegion(text) else {
            throw APIError.invalid("X-Xerotier-Region", "'X-Xerotier-Region' must have 1 to 24 ASCII characters without spaces and colons.")
        }
        return text
    }
}
