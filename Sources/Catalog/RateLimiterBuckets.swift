import OpenAI
import Server

/// A token bucket's size (04 §7). Amounts are in units of 1/60,000,000, so that a bucket of n a minute gains n units each microsecond: integers, without drift.
package struct BucketRate: Sendable, Equatable {
    package static let unit = 60_000_000
    /// Larger limits count as this: Redis counts in doubles, and a full bucket must stay below 2^53.
    private static let largestRate = 100_000_000

    /// nil = unlimited: counted, never refused.
    package let limit: Int?
    /// Gained each microsecond.
    package let perMicrosecond: Int
    package let capacity: Int

    package init(limit: Int?, burstFloor: Int) {
        self.limit = limit
        let rate = min(max(limit ?? Self.largestRate, 1), Self.largestRate)
        perMicrosecond = rate
        capacity = min(max(rate * Self.unit / 2 * 3, rate * Self.unit / 60 + burstFloor * Self.unit), Self.largestRate * Self.unit / 2 * 3)
    }

    /// The lowest level: one minute's worth below zero.
    package var floor: Int { -perMicrosecond * Self.unit }

    /// What a request of so many takes: no more than would drive a full bucket to its floor.
    package func charge(for amount: Int) -> Int { min(max(0, amount), (capacity - floor) / Self.unit) }

    func refilled(_ level: Int, after microseconds: Int) -> Int {
        let (gain, isHuge) = perMicrosecond.multipliedReportingOverflow(by: max(0, microseconds))
        return isHuge ? capacity : min(capacity, level + min(gain, capacity - floor))
    }

    func microseconds(from level: Int, to wanted: Int) -> Int {
        wanted <= level ? 0 : (wanted - level + perMicrosecond - 1) / perMicrosecond
    }

    func reading(_ level: Int) -> LimitReading {
        guard let limit else { return .unlimited }
        let untilFull = microseconds(from: level, to: capacity)
        return LimitReading(limit: limit, remaining: max(0, level) / Self.unit, resetSeconds: (untilFull + 999_999) / 1_000_000)
    }
}

/// What stands in the way of a request.
package enum LimitObstacle: Int, Sendable { case requests = 1, tokens, concurrency, quotaRequests, quotaTokens }

/// The limits of one request as numbers, and the words for what came of them.
package struct LimitTerms: Sendable {
    package let requests: BucketRate
    package let tokens: BucketRate
    package let concurrent: Int
    /// Tokens taken in advance.
    package let charge: Int
    package let quota: KeyQuota?

    package init(_ request: LimitRequest) {
        requests = BucketRate(limit: request.requestsPerMinute, burstFloor: request.burstFloor)
        tokens = BucketRate(limit: request.tokensPerMinute, burstFloor: request.burstFloor)
        concurrent = request.concurrent
        charge = tokens.charge(for: request.tokenEstimate)
        quota = request.quota
    }

    /// What the token bucket must hold.
    package var neededTokens: Int { min(charge * BucketRate.unit, tokens.capacity) }

    /// What the end of a request gives back to its token bucket, in units; negative = takes more.
    package func surplus(actualTokens: Int) -> Int { (charge - tokens.charge(for: actualTokens)) * BucketRate.unit }

    package func decision(
        _ obstacle: LimitObstacle?, requestLevel: Int, tokenLevel: Int, quota used: QuotaReading? = nil
    ) -> LimitDecision {
        var readings = LimitReadings(requests: requests.reading(requestLevel), tokens: tokens.reading(tokenLevel))
        if let used, let quota { readings = used.lowered(readings, quota) }
        switch obstacle {
        case nil:
            return .admitted(readings)
        case .requests:
            let wait = requests.microseconds(from: requestLevel, to: BucketRate.unit)
            return .refused(Self.rateError("requests_per_minute", "\(requests.limit ?? 0) requests per minute", wait: wait), readings)
        case .tokens:
            let wait = tokens.microseconds(from: tokenLevel, to: neededTokens)
            return .refused(Self.rateError("tokens_per_minute", "\(tokens.limit ?? 0) tokens per minute", wait: wait), readings)
        case .quotaRequests:
            return .refused(Self.quotaError("quota.requests", "\(quota?.requests ?? 0) requests", quota, used), readings)
        case .quotaTokens:
            return .refused(Self.quotaError("quota.tokens", "\(quota?.tokens ?? 0) tokens", quota, used), readings)
        case .concurrency:
            let message = "Concurrency limit reached: \(concurrent) requests at once on this endpoint."
            return .refused(
                APIError(.concurrencyExceeded, message, param: "max_concurrent", retryAfter: 1, strategy: .concurrency), readings)
        }
    }

    private static func quotaError(_ name: String, _ limit: String, _ quota: KeyQuota?, _ used: QuotaReading?) -> APIError {
        let seconds = min(3600, max(1, ((used?.waitMicroseconds ?? 0) + 999_999) / 1_000_000))
        return APIError(
            .quotaExceeded, "The API key's quota of \(limit) in \(quota?.windowSeconds ?? 0) s is used up. Try again in \(seconds) s.",
            param: name, retryAfter: seconds, strategy: .quota)
    }

    private static func rateError(_ name: String, _ limit: String, wait microseconds: Int) -> APIError {
        let seconds = min(3600, max(1, (microseconds + 999_999) / 1_000_000))
        return APIError(
            .rateLimitExceeded, "Rate limit reached: \(limit) for this key on this endpoint. Try again in \(seconds) s.",
            param: name, retryAfter: seconds,
            strategy: .rate(refillMilliseconds: max(1, (microseconds + 999) / 1000)))
    }
}

/// The two buckets of a key on an endpoint. The script in `LimitScript` does the same inside Redis; a test holds them to it.
package struct LimitBuckets: Sendable, Equatable {
    package private(set) var requests: Int
    package private(set) var tokens: Int
    /// When they were last refilled, in microseconds.
    package private(set) var time: Int

    /// New buckets are full.
    package init(_ terms: LimitTerms, now: Int) {
        requests = terms.requests.capacity
        tokens = terms.tokens.capacity
        time = now
    }

    /// Takes one request and the charge, or says what stands in the way and takes nothing.
    package mutating func admit(_ terms: LimitTerms, running: Int, now: Int) -> LimitObstacle? {
        refill(terms, now: now)
        if terms.requests.limit != nil && requests < BucketRate.unit { return .requests }
        if terms.tokens.limit != nil && tokens < terms.neededTokens { return .tokens }
        if running >= terms.concurrent { return .concurrency }
        requests = max(terms.requests.floor, requests - BucketRate.unit)
        tokens = max(terms.tokens.floor, tokens - terms.charge * BucketRate.unit)
        return nil
    }

    /// Replaces the charge by what was used.
    package mutating func correct(_ terms: LimitTerms, actualTokens: Int, now: Int) {
        refill(terms, now: now)
        tokens = min(terms.tokens.capacity, max(terms.tokens.floor, tokens + terms.surplus(actualTokens: actualTokens)))
    }

    func isFull(_ terms: LimitTerms, now: Int) -> Bool {
        var later = self
        later.refill(terms, now: now)
        return later.requests == terms.requests.capacity && later.tokens == terms.tokens.capacity
    }

    private mutating func refill(_ terms: LimitTerms, now: Int) {
        requests = terms.requests.refilled(requests, after: now - time)
        tokens = terms.tokens.refilled(tokens, after: now - time)
        time = max(time, now)
    }
}
