import OpenAI
import Server

/// The limits of this process alone, while Redis is away: each at its share, at least 1.
struct RateLimiterFallback {
    private struct Holder: Hashable {
        let endpoint: ID<Endpoint>
        let key: ID<APIKey>
    }

    private struct Kept {
        var buckets: LimitBuckets
        var terms: LimitTerms
    }

    private let gateways: Int
    private var kept: [Holder: Kept] = [:]
    private static let sweepSize = 10_000

    init(gateways: Int) { self.gateways = max(1, gateways) }

    mutating func admit(_ request: LimitRequest, running: Int, now: Int) -> LimitDecision {
        let terms = LimitTerms(share(of: request))
        let holder = Holder(endpoint: request.endpointID, key: request.keyID)
        if kept.count >= Self.sweepSize { kept = kept.filter { !$0.value.buckets.isFull($0.value.terms, now: now) } }
        var buckets = kept[holder]?.buckets ?? LimitBuckets(terms, now: now)
        let obstacle = buckets.admit(terms, running: running, now: now)
        kept[holder] = Kept(buckets: buckets, terms: terms)
        return terms.decision(obstacle, requestLevel: buckets.requests, tokenLevel: buckets.tokens)
    }

    mutating func finish(_ request: LimitRequest, actualTokens: Int, now: Int) {
        let holder = Holder(endpoint: request.endpointID, key: request.keyID)
        let terms = LimitTerms(share(of: request))
        kept[holder]?.buckets.correct(terms, actualTokens: actualTokens, now: now)
    }

    private func share(of request: LimitRequest) -> LimitRequest {
        var share = request
        share.requestsPerMinute = request.requestsPerMinute.map { max(1, $0 / gateways) }
        share.tokensPerMinute = request.tokensPerMinute.map { max(1, $0 / gateways) }
        share.burstFloor = max(1, request.burstFloor / gateways)
        share.concurrent = max(1, request.concurrent / gateways)
        return share
    }
}
