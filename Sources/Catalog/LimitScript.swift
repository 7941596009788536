import OpenAI
import Redis
import Server

/// The limits inside Redis: both buckets of a key on an endpoint and the endpoint's running requests, changed in one step.
///
/// Times are microseconds; levels are as in `BucketRate`. The buckets live until they would be full. The set of running requests lives
/// for three leases, counted anew by the first request of a key in each half lease: every call inside a script costs, so not by each.
enum LimitScript {
    /// Arguments 1-6: time (empty = Redis' own), request id, and of each bucket what it gains in a microsecond and its capacity.
    private static let prelude = """
        local now = tonumber(ARGV[1])
        if not now then
            local clock = redis.call('TIME')
            now = clock[1] * 1000000 + clock[2]
        end
        local requestRate, requestCapacity = tonumber(ARGV[3]), tonumber(ARGV[4])
        local tokenRate, tokenCapacity = tonumber(ARGV[5]), tonumber(ARGV[6])
        local unit = 60000000
        local requests, tokens, time, last = requestCapacity, tokenCapacity, now, 0
        local stored = redis.call('GET', KEYS[1])
        if stored then
            local storedRequests, storedTokens, storedTime = string.match(stored, '(%S+) (%S+) (%S+)')
            last = tonumber(storedTime)
            time = math.max(last, now)
            requests = math.min(requestCapacity, storedRequests + (time - last) * requestRate)
            tokens = math.min(tokenCapacity, storedTokens + (time - last) * tokenRate)
        end
        local function store()
            local untilFull = math.max((requestCapacity - requests) / requestRate, (tokenCapacity - tokens) / tokenRate)
            redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', requests, tokens, time), 'PX',
                string.format('%.0f', untilFull / 1000 + 1000))
        end

        """

    /// Arguments 7-12: whether requests and tokens are limited, the tokens needed and the charge (in units), the most at once, the lease.
    /// Answers the obstacle (0 = admitted) and both levels.
    private static let admission = RedisScript(
        prelude + """
            if ARGV[7] == '1' and requests < unit then return {1, requests, tokens} end
            if ARGV[8] == '1' and tokens < tonumber(ARGV[9]) then return {2, requests, tokens} end
            local concurrent = tonumber(ARGV[11])
            local running = redis.call('ZCARD', KEYS[2])
            if running >= concurrent then
                redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
                running = redis.call('ZCARD', KEYS[2])
                if running >= concurrent then return {3, requests, tokens} end
            end
            requests = math.max(-requestRate * unit, requests - unit)
            tokens = math.max(-tokenRate * unit, tokens - ARGV[10])
            store()
            local lease = tonumber(ARGV[12])
            redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), ARGV[2])
            if running == 0 or math.floor(2 * now / lease) > math.floor(2 * last / lease) then
                redis.call('PEXPIRE', KEYS[2], string.format('%.0f', 3 * lease / 1000))
            end
            return {0, requests, tokens}
            """)

    /// Argument 7: what to give back, in units (negative = take more).
    private static let ending = RedisScript(
        prelude + """
            tokens = math.min(tokenCapacity, math.max(-tokenRate * unit, tokens + ARGV[7]))
            store()
            redis.call('ZREM', KEYS[2], ARGV[2])
            return {0, requests, tokens}
            """)

    struct Levels: Equatable {
        let obstacle: LimitObstacle?
        let requests: Int
        let tokens: Int
    }

    static func admit(
        _ request: LimitRequest, _ terms: LimitTerms, lease: Duration, now: Int?, on commander: some RedisCommander
    ) throws -> Levels {
        var arguments = shared(request, terms, now: now)
        arguments.append(.integer(terms.requests.limit == nil ? 0 : 1))
        arguments.append(.integer(terms.tokens.limit == nil ? 0 : 1))
        arguments.append(.integer(terms.neededTokens))
        arguments.append(.integer(terms.charge * BucketRate.unit))
        arguments.append(.integer(terms.concurrent))
        arguments.append(.integer(lease.microseconds))
        return try levels(admission.run(on: commander, keys: keys(request), arguments: arguments))
    }

    static func finish(
        _ request: LimitRequest, _ terms: LimitTerms, actualTokens: Int, now: Int?, on commander: some RedisCommander
    ) throws {
        let arguments = endingArguments(request, terms, actualTokens: actualTokens, now: now)
        _ = try levels(ending.run(on: commander, keys: keys(request), arguments: arguments))
    }

    /// Sends the ending without waiting for it.
    /// - Returns: what waits; it is to be called once.
    static func beginFinish(
        _ request: LimitRequest, _ terms: LimitTerms, actualTokens: Int, now: Int?, on pipeline: RedisPipeline
    ) throws -> () throws -> Void {
        let arguments = endingArguments(request, terms, actualTokens: actualTokens, now: now)
        let reply = try ending.begin(on: pipeline, keys: keys(request), arguments: arguments)
        return { _ = try levels(reply()) }
    }

    private static func endingArguments(_ request: LimitRequest, _ terms: LimitTerms, actualTokens: Int, now: Int?) -> [RedisArgument] {
        let surplus = terms.charge - terms.tokens.charge(for: actualTokens)
        return shared(request, terms, now: now) + [.integer(surplus * BucketRate.unit)]
    }

    static func runningKey(_ endpoint: ID<Endpoint>) -> String { Vendor.redisPrefix + "running:" + endpoint.description }

    private static func keys(_ request: LimitRequest) -> [String] {
        [Vendor.redisPrefix + "limit:" + request.endpointID.description + ":" + request.keyID.description, runningKey(request.endpointID)]
    }

    private static func shared(_ request: LimitRequest, _ terms: LimitTerms, now: Int?) -> [RedisArgument] {
        var arguments: [RedisArgument] = []
        arguments.reserveCapacity(12)
        arguments.append(now.map { .integer($0) } ?? "")
        arguments.append(.string(request.requestID))
        arguments.append(.integer(terms.requests.perMicrosecond))
        arguments.append(.integer(terms.requests.capacity))
        arguments.append(.integer(terms.tokens.perMicrosecond))
        arguments.append(.integer(terms.tokens.capacity))
        return arguments
    }

    private static func levels(_ reply: RedisReply) throws -> Levels {
        guard let parts = reply.array, parts.count == 3, let code = parts[0].integer, let requests = parts[1].integer,
            let tokens = parts[2].integer
        else { throw RedisError.refused("the limit script gave \(reply)") }
        return Levels(obstacle: LimitObstacle(rawValue: code), requests: requests, tokens: tokens)
    }
}
