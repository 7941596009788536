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
    private var windows: [ID<APIKey>: QuotaWindow] = [:]
    private static let sweepSize = 10_000

    init(gateways: Int) { self.gateways = max(1, gateways) }

    mutating func admit(_ request: LimitRequest, running: Int, now: Int) -> LimitDecision {
        let terms = LimitTerms(share(of: request))
        let holder = Holder(endpoint: request.endpointID, key: request.keyID)
        if kept.count >= Self.sweepSize { kept = kept.filter { !$0.value.buckets.isFull($0.value.terms, now: now) } }
        var buckets = kept[holder]?.buckets ?? LimitBuckets(terms, now: now)
        var window: QuotaWindow?
        if let quota = terms.quota {
            if windows.count >= Self.sweepSize { windows = windows.filter { !$0.value.isEmpty(now: now) } }
            window = windows[request.keyID].flatMap { $0.quota == quota ? $0 : nil } ?? QuotaWindow(quota)
        }
        var obstacle = window?.obstacle(tokens: request.tokenEstimate, now: now)
        let reading = window?.reading(obstacle, tokens: request.tokenEstimate, now: now)
        if obstacle == nil { obstacle = buckets.admit(terms, running: running, now: now) }
        if obstacle == nil { window?.add(requests: 1, tokens: request.tokenEstimate, now: now) }
        kept[holder] = Kept(buckets: buckets, terms: terms)
        if let window { windows[request.keyID] = window }
        return terms.decision(obstacle, requestLevel: buckets.requests, tokenLevel: buckets.tokens, quota: reading)
    }

    mutating func finish(_ request: LimitRequest, actualTokens: Int, now: Int) {
        let holder = Holder(endpoint: request.endpointID, key: request.keyID)
        let terms = LimitTerms(share(of: request))
        kept[holder]?.buckets.correct(terms, actualTokens: actualTokens, now: now)
        windows[request.keyID]?.add(requests: 0, tokens: actualTokens - request.tokenEstimate, now: now)
    }

    private func share(of request: LimitRequest) -> LimitRequest {
        var share = request
        share.requestsPerMinute = request.requestsPerMinute.map { max(1, $0 / gateways) }
        share.tokensPerMinute = request.tokensPerMinute.map { max(1, $0 / gateways) }
        share.burstFloor = max(1, request.burstFloor / gateways)
        share.concurrent = max(1, request.concurrent / gateways)
        share.quota = request.quota.map { quota in
            KeyQuota(
                requests: max(1, quota.requests / gateways), windowSeconds: quota.windowSeconds,
                tokens: quota.tokens.map { max(1, $0 / gateways) })
        }
        return share
    }
}
