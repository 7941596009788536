import Dispatch
import Foundation
import Logging
import OpenAI
import Redis
import Server
import Threads

/// Rates and concurrency over all gateways, counted in Redis (04 §6-7); while Redis is away, by each process for its share.
public final class RateLimiter: Limiter {
    private let redis: RedisPool
    private let logger: Logger
    /// Steps of many requests, taken together.
    private let steps: Gathering<LimitStep, Result<LimitScript.Levels?, any Error>>
    private let lease: Duration
    private let renewal: Duration
    private let clock: (@Sendable () -> Int)?
    private let state: Lock<State>
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)

    private struct Running {
        let endpoint: ID<Endpoint>
        let isCountedInRedis: Bool
        var needsRenewalAt: ContinuousClock.Instant
    }

    private struct Ending {
        let request: LimitRequest
        let actualTokens: Int
    }

    private struct State {
        var running: [String: Running] = [:]
        var runningByEndpoint: [ID<Endpoint>: Int] = [:]
        var fallback: RateLimiterFallback
        /// What Redis has not been told yet because it was away.
        var endings: [Ending] = []
        var isStopping = false
        var isAlone = false
    }

    /// After so many more are dropped: the leases free their slots, the buckets refill.
    private static let mostEndings = 10_000

    /// - Parameters:
    ///   - gateways: how many processes share the limits.
    ///   - clock: microseconds, for tests; nil = Redis' own time.
    public init(redis: RedisPool, gateways: Int, timeScale: Double = 1, clock: (@Sendable () -> Int)? = nil, logger: Logger) {
        self.redis = redis
        self.logger = logger
        self.clock = clock
        let lease = Duration.seconds(60) * timeScale
        self.lease = lease
        steps = Gathering(most: 200) { Self.take($0, in: redis, lease: lease, clock) }
        renewal = .seconds(20) * timeScale
        state = Lock(State(fallback: RateLimiterFallback(gateways: gateways)))
        startThread("limit-renewal", stackSize: 512 << 10) { [self] in
            renewUntilStopped()
            ended.signal()
        }
    }

    /// Ends the thread and waits for it. It may be called once.
    public func stop() {
        state.withLock { $0.isStopping = true }
        wake.signal()
        ended.wait()
    }

    public func admit(_ request: LimitRequest) -> LimitDecision {
        let terms = LimitTerms(request)
        do {
            let levels = try answer(LimitStep(request: request, terms: terms, kind: .admission))
            if isAlone { note(nil) }
            if levels.obstacle == nil { begin(request, isCountedInRedis: true) }
            return terms.decision(levels.obstacle, requestLevel: levels.requests, tokenLevel: levels.tokens, quota: levels.quota)
        } catch {
            note(error)
            // The script may have run all the same: its slot must not stay taken until its lease ends.
            switch error as? RedisError {
            case .timedOut, .lost: tellLater(request, actualTokens: 0)
            default: break
            }
            return admitAlone(request)
        }
    }

    /// Whether limits are counted by each process for its share, because Redis fails.
    public var isAlone: Bool { state.withLock { $0.isAlone } }

    /// Says once that Redis fails, and once that it is used again.
    private func note(_ error: (any Error)?) {
        let hasChanged = state.withLock { state in
            guard state.isAlone != (error != nil) else { return false }
            state.isAlone = error != nil
            return true
        }
        guard hasChanged else { return }
        if let error {
            logger.error("limits are counted by each process alone: Redis fails", metadata: ["error": "\(error)"])
        } else {
            logger.notice("limits are counted in Redis again")
        }
    }

    private func tellLater(_ request: LimitRequest, actualTokens: Int) {
        state.withLock { state in
            if state.endings.count < Self.mostEndings { state.endings.append(Ending(request: request, actualTokens: actualTokens)) }
        }
    }

    public func beginFinish(_ request: LimitRequest, actualTokens: Int) -> () -> Void {
        guard let ended = end(request, actualTokens: actualTokens), ended.isCountedInRedis else { return {} }
        let step = LimitStep(request: request, terms: LimitTerms(request), kind: .ending(actualTokens: actualTokens))
        // It goes with the next admission, or at the latest when it is waited for.
        let place = redis.isAway ? nil : steps.add(step)
        return { [self] in
            do {
                if let place { _ = try steps.answer(of: place).get() } else { _ = try answer(step) }
            } catch {
                note(error)
                tellLater(request, actualTokens: actualTokens)
            }
        }
    }

    /// Takes a step, together with what others ask for at the same time.
    /// - Returns: the levels; for an end they are of no meaning.
    private func answer(_ step: LimitStep) throws -> LimitScript.Levels {
        // While Redis is away the pool refuses all but a few at once; nobody shall wait behind one of those few.
        let result = redis.isAway ? Self.take([step], in: redis, lease: lease, clock)[0] : steps.answer(of: steps.add(step))
        return try result.get() ?? LimitScript.Levels(obstacle: nil, requests: 0, tokens: 0)
    }

    private static func take(
        _ steps: [LimitStep], in redis: RedisPool, lease: Duration, _ clock: (@Sendable () -> Int)?
    ) -> [Result<LimitScript.Levels?, any Error>] {
        do {
            return try again { try redis.withConnection { try LimitScript.run(steps, lease: lease, now: clock?(), on: $0) } }
        } catch {
            return steps.map { _ in .failure(error) }
        }
    }

    /// A kept connection may be the victim of a restart of Redis: then a new one is tried, once.
    private static func again<T>(_ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch RedisError.lost {
            return try body()
        }
    }

    private func onRedis<T>(_ body: (RedisConnection) throws -> T) throws -> T { try Self.again { try redis.withConnection(body) } }

    private func admitAlone(_ request: LimitRequest) -> LimitDecision {
        let decision = state.withLock { state in
            state.fallback.admit(request, running: state.runningByEndpoint[request.endpointID] ?? 0, now: localTime)
        }
        if case .admitted = decision { begin(request, isCountedInRedis: false) }
        return decision
    }

    private func begin(_ request: LimitRequest, isCountedInRedis: Bool) {
        let running = Running(endpoint: request.endpointID, isCountedInRedis: isCountedInRedis, needsRenewalAt: .now + renewal)
        state.withLock { state in
            state.running[request.requestID] = running
            state.runningByEndpoint[request.endpointID, default: 0] += 1
        }
    }

    private func end(_ request: LimitRequest, actualTokens: Int) -> Running? {
        state.withLock { state in
            guard let running = state.running.removeValue(forKey: request.requestID) else { return nil }
            let left = (state.runningByEndpoint[running.endpoint] ?? 1) - 1
            state.runningByEndpoint[running.endpoint] = left > 0 ? left : nil
            if !running.isCountedInRedis { state.fallback.finish(request, actualTokens: actualTokens, now: localTime) }
            return running
        }
    }

    private var localTime: Int { clock?() ?? Int(Date().timeIntervalSince1970 * 1_000_000) }
}

// MARK: - Renewal

extension RateLimiter {
    private func renewUntilStopped() {
        while !state.withLock({ $0.isStopping }) {
            tellEndings()
            renewLeases()
            _ = wake.wait(timeout: .now() + min(1, renewal / .seconds(1) / 4))
        }
    }

    /// Tells Redis what ended while it was away.
    private func tellEndings() {
        let endings = state.withLock { state in
            defer { state.endings = [] }
            return state.endings
        }
        var left = endings[...]
        while !left.isEmpty {
            let steps = left.prefix(200).map {
                LimitStep(request: $0.request, terms: LimitTerms($0.request), kind: .ending(actualTokens: $0.actualTokens))
            }
            do {
                try onRedis { _ = try LimitScript.run(steps, lease: lease, now: clock?(), on: $0) }
            } catch {
                return state.withLock { $0.endings.insert(contentsOf: left, at: 0) }
            }
            left = left.dropFirst(steps.count)
        }
    }

    /// Extends the leases that were not extended for a while. A request that ends meanwhile is not brought back (XX).
    private func renewLeases() {
        let now = ContinuousClock.now
        let due = state.withLock { state in state.running.filter { $0.value.isCountedInRedis && $0.value.needsRenewalAt <= now } }
        guard !due.isEmpty else { return }
        do {
            try onRedis { connection in
                let until = try currentTime(on: connection) + lease.microseconds
                for batch in Array(due).chunked(500) {
                    _ = try connection.pipeline(batch.flatMap { id, running in renewal(of: id, running, until: until) })
                }
            }
        } catch {
            return  // Redis is away: the next turn tries again
        }
        state.withLock { state in
            for id in due.keys { state.running[id]?.needsRenewalAt = now + renewal }
        }
    }

    private func renewal(of id: String, _ running: Running, until: Int) -> [[RedisArgument]] {
        let key = LimitScript.runningKey(running.endpoint)
        return [
            ["ZADD", .string(key), "XX", .integer(until), .string(id)],
            ["PEXPIRE", .string(key), .integer(3 * lease.microseconds / 1000)],
        ]
    }

    private func currentTime(on connection: RedisConnection) throws -> Int {
        if let clock { return clock() }
        let parts = try connection.command(["TIME"]).array?.compactMap { $0.string.flatMap { Int($0) } } ?? []
        guard parts.count == 2 else { throw RedisError.refused("TIME gave no time") }
        return parts[0] * 1_000_000 + parts[1]
    }
}

extension Array {
    fileprivate func chunked(_ size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min($0 + size, count)] }
    }
}
