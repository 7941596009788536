import OpenAI
import Redis
import Server

/// What a request asks of the counters in Redis: to be let in, or that its end be noted.
struct LimitStep: Sendable {
    enum Kind: Sendable, Equatable {
        case admission
        case ending(actualTokens: Int)
    }

    let request: LimitRequest
    let terms: LimitTerms
    let kind: Kind
}

/// The limits inside Redis: both buckets of a key on an endpoint and the endpoint's running requests, changed in one step.
///
/// One run of the script serves all steps of a key on an endpoint that came together: their ends first, then each admission for itself, all or
/// nothing. Times are microseconds; levels are as in `BucketRate`. The buckets live until they would be full. The set of running requests lives
/// for three leases, counted anew by the first run in each half lease: every call inside a script costs, so not by each.
enum LimitScript {
    /// Arguments 1-10: time (empty = Redis' own), of each bucket what it gains in a microsecond and its capacity, whether requests and tokens
    /// are limited, the most at once, the lease, the number of ends. Then for each end: request id, and what to give back, in units (negative =
    /// take more). Then for each admission: request id, the tokens needed and the charge, in units.
    /// Answers for each admission the obstacle (0 = admitted) and both levels.
    private static let plain = RedisScript(source(quota: false))
    /// For a key with a quota there is more, so that keys without one pay nothing: see `QuotaScript`.
    private static let withQuota = RedisScript(source(quota: true))

    private static func source(quota: Bool) -> String {
        let shape = Shape(hasQuota: quota)
        return """
            local now = tonumber(ARGV[1])
            if not now then
                local clock = redis.call('TIME')
                now = clock[1] * 1000000 + clock[2]
            end
            local requestRate, requestCapacity = tonumber(ARGV[2]), tonumber(ARGV[3])
            local tokenRate, tokenCapacity = tonumber(ARGV[4]), tonumber(ARGV[5])
            local limitsRequests, limitsTokens = ARGV[6] == '1', ARGV[7] == '1'
            local concurrent, lease = tonumber(ARGV[8]), tonumber(ARGV[9])
            local unit = 60000000
            local requestFloor, tokenFloor = -requestRate * unit, -tokenRate * unit

            local requests, tokens, time, last = requestCapacity, tokenCapacity, now, 0
            local stored = redis.call('GET', KEYS[1])
            if stored then
                local storedRequests, storedTokens, storedTime = string.match(stored, '(%S+) (%S+) (%S+)')
                last = tonumber(storedTime)
                time = math.max(last, now)
                requests = math.min(requestCapacity, storedRequests + (time - last) * requestRate)
                tokens = math.min(tokenCapacity, storedTokens + (time - last) * tokenRate)
            end

            \(quota ? QuotaScript.reading : "")
            local firstAdmission = \(shape.head + 1) + \(shape.ending) * ARGV[10]
            for at = \(shape.head + 1), firstAdmission - 1, \(shape.ending) do
                tokens = math.min(tokenCapacity, math.max(tokenFloor, tokens + ARGV[at + 1]))
                redis.call('ZREM', KEYS[2], ARGV[at])
                \(quota ? QuotaScript.ending : "")
            end

            local answer, admitted, running, isNew = {}, 0, nil, false
            local function admit(id, needed, charge, quotaCharge)
                \(quota ? QuotaScript.check : "")
                if limitsRequests and requests < unit then return 1 end
                if limitsTokens and tokens < needed then return 2 end
                running = running or redis.call('ZCARD', KEYS[2])
                if running >= concurrent then
                    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
                    running = redis.call('ZCARD', KEYS[2])
                    if running >= concurrent then return 3 end
                end
                requests = math.max(requestFloor, requests - unit)
                tokens = math.max(tokenFloor, tokens - charge)
                isNew = isNew or running == 0
                running = running + 1
                admitted = admitted + 1
                redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), id)
                \(quota ? QuotaScript.admission : "")
                return 0
            end
            for at = firstAdmission, #ARGV, \(shape.admission) do
                local obstacle\(quota ? ", wait" : "") = admit(ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])\(quota ? ", tonumber(ARGV[at + 3])" : ""))
                local levels = #answer
                answer[levels + 1], answer[levels + 2], answer[levels + 3] = obstacle, requests, tokens
                \(quota ? QuotaScript.answer : "")
            end
            \(quota ? QuotaScript.storing : "")
            if admitted > 0 or firstAdmission > \(shape.head + 1) then
                local untilFull = math.max((requestCapacity - requests) / requestRate, (tokenCapacity - tokens) / tokenRate)
                redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', requests, tokens, time), 'PX',
                    string.format('%.0f', untilFull / 1000 + 1000))
            end
            if isNew or math.floor(2 * now / lease) > math.floor(2 * last / lease) then
                redis.call('PEXPIRE', KEYS[2], string.format('%.0f', 3 * lease / 1000))
            end
            return answer
            """
    }

    /// How many arguments stand before the ends, for each end and for each admission, and how many values answer an admission.
    private struct Shape {
        let head: Int
        let ending: Int
        let admission: Int
        let answer: Int

        init(hasQuota: Bool) {
            (head, ending, admission, answer) = hasQuota ? (13, 3, 4, 6) : (10, 2, 3, 3)
        }
    }

    struct Levels: Sendable, Equatable {
        let obstacle: LimitObstacle?
        let requests: Int
        let tokens: Int
        /// Of a key that has a quota.
        var quota: QuotaReading?
    }

    /// Takes all steps in one round trip.
    /// - Returns: for each step the levels after it; for ends, which nobody asks, nil.
    static func run(
        _ steps: [LimitStep], lease: Duration, now: Int?, on connection: RedisConnection
    ) throws -> [Result<Levels?, any Error>] {
        let groups = Dictionary(grouping: steps.indices) { Counters(steps[$0]) }.map { Group($0.value, of: steps) }
        var results = [Result<Levels?, any Error>](repeating: .success(nil), count: steps.count)
        // Keys with a quota are few, so their second round trip is rare.
        for (script, hasQuota) in [(plain, false), (withQuota, true)] {
            let groups = groups.filter { $0.hasQuota == hasQuota }
            if groups.isEmpty { continue }
            let replies = try script.runAll(on: connection, groups.map { $0.call(steps, lease: lease, now: now) })
            for (group, reply) in zip(groups, replies) { group.distribute(reply, to: &results) }
        }
        return results
    }

    static func runningKey(_ endpoint: ID<Endpoint>) -> String { Vendor.redisPrefix + "running:" + endpoint.description }

    /// Steps with the same counters and the same limits share a run; limits differ while a change of a tier spreads.
    private struct Counters: Hashable {
        let endpoint: ID<Endpoint>
        let key: ID<APIKey>
        let requestsPerMinute: Int?
        let tokensPerMinute: Int?
        let burstFloor: Int
        let concurrent: Int
        let quota: KeyQuota?

        init(_ step: LimitStep) {
            endpoint = step.request.endpointID
            key = step.request.keyID
            requestsPerMinute = step.request.requestsPerMinute
            tokensPerMinute = step.request.tokensPerMinute
            burstFloor = step.request.burstFloor
            concurrent = step.request.concurrent
            quota = step.request.quota
        }
    }

    /// The steps of one run, by their places among all steps.
    private struct Group {
        var endings: [Int] = []
        var admissions: [Int] = []
        let hasQuota: Bool
        private var shape: Shape { Shape(hasQuota: hasQuota) }

        init(_ places: [Int], of steps: [LimitStep]) {
            hasQuota = steps[places[0]].request.quota != nil
            for place in places {
                if steps[place].kind == .admission { admissions.append(place) } else { endings.append(place) }
            }
        }

        func call(_ steps: [LimitStep], lease: Duration, now: Int?) -> RedisScript.Call {
            let first = steps[(endings.first ?? admissions.first)!]
            let (request, terms) = (first.request, first.terms)
            var arguments: [RedisArgument] = []
            arguments.reserveCapacity(shape.head + shape.ending * endings.count + shape.admission * admissions.count)
            arguments.append(now.map { .integer($0) } ?? "")
            arguments.append(.integer(terms.requests.perMicrosecond))
            arguments.append(.integer(terms.requests.capacity))
            arguments.append(.integer(terms.tokens.perMicrosecond))
            arguments.append(.integer(terms.tokens.capacity))
            arguments.append(.integer(terms.requests.limit == nil ? 0 : 1))
            arguments.append(.integer(terms.tokens.limit == nil ? 0 : 1))
            arguments.append(.integer(terms.concurrent))
            arguments.append(.integer(lease.microseconds))
            arguments.append(.integer(endings.count))
            if let quota = request.quota { arguments += QuotaScript.arguments(quota) }
            for place in endings {
                guard case .ending(let actualTokens) = steps[place].kind else { continue }
                arguments.append(.string(steps[place].request.requestID))
                arguments.append(.integer(steps[place].terms.surplus(actualTokens: actualTokens)))
                if hasQuota { arguments.append(.integer(actualTokens - steps[place].request.tokenEstimate)) }
            }
            for place in admissions {
                arguments.append(.string(steps[place].request.requestID))
                arguments.append(.integer(steps[place].terms.neededTokens))
                arguments.append(.integer(steps[place].terms.charge * BucketRate.unit))
                if hasQuota { arguments.append(.integer(steps[place].request.tokenEstimate)) }
            }
            var keys = [
                Vendor.redisPrefix + "limit:" + request.endpointID.description + ":" + request.keyID.description,
                LimitScript.runningKey(request.endpointID),
            ]
            if hasQuota { keys.append(QuotaScript.key(request.keyID)) }
            return RedisScript.Call(keys: keys, arguments: arguments)
        }

        func distribute(_ reply: RedisReply, to results: inout [Result<Levels?, any Error>]) {
            let values = (reply.array ?? []).compactMap(\.integer)
            let width = shape.answer
            guard reply.array != nil, values.count == width * admissions.count else {
                let failure = RedisError.refused("the limit script gave \(reply)")
                for place in endings + admissions { results[place] = .failure(failure) }
                return
            }
            for (number, place) in admissions.enumerated() {
                let found = values[(width * number)..<(width * number + width)]
                let first = found.startIndex
                var levels = Levels(
                    obstacle: LimitObstacle(rawValue: found[first]), requests: found[first + 1], tokens: found[first + 2])
                if hasQuota {
                    levels.quota = QuotaReading(waitMicroseconds: found[first + 3], requests: found[first + 4], tokens: found[first + 5])
                }
                results[place] = .success(levels)
            }
        }
    }
}
