import OpenAI
import Redis
import Server

/// What the limit script does more for a key that has a quota, so that all is still one step: `QuotaWindow` in Lua.
///
/// The third key is a hash: the number of a slice to `requests tokens`. It lives as long as its window.
enum QuotaScript {
    static func key(_ key: ID<APIKey>) -> String { Vendor.redisPrefix + "quota:" + key.description }

    /// Arguments 11-13: the most requests, the most tokens (-1 = any number), and the length of a slice in microseconds.
    static func arguments(_ quota: KeyQuota) -> [RedisArgument] {
        [.integer(quota.requests), .integer(quota.tokens ?? -1), .integer(QuotaWindow.length(quota))]
    }

    static let reading = """
        local mostRequests, mostTokens, slice = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
        local current = math.floor(now / slice)
        local uses, stale, usedRequests, usedTokens, newRequests, newTokens = {}, {}, 0, 0, 0, 0
        local fields = redis.call('HGETALL', KEYS[3])
        for at = 1, #fields, 2 do
            local number = tonumber(fields[at])
            if number > current - 61 then
                local usedR, usedT = string.match(fields[at + 1], '(%S+) (%S+)')
                uses[#uses + 1] = {number, tonumber(usedR), tonumber(usedT)}
                usedRequests, usedTokens = usedRequests + usedR, usedTokens + usedT
            else
                stale[#stale + 1] = fields[at]
            end
        end
        if #stale > 0 then redis.call('HDEL', KEYS[3], unpack(stale)) end
        table.sort(uses, function(a, b) return a[1] < b[1] end)
        local function waitFor(part, excess)
            for _, use in ipairs(uses) do
                excess = excess - use[part]
                if excess <= 0 then return (use[1] + 61) * slice - now end
            end
            return 61 * slice
        end
        """

    /// The third argument of an end: the tokens it used beyond the estimate.
    static let ending = "newTokens = newTokens + ARGV[at + 2]"

    static let check = """
        local excess = usedRequests + newRequests + 1 - mostRequests
        if excess > 0 then return 4, waitFor(2, excess) end
        if mostTokens >= 0 then
            excess = math.max(0, usedTokens + newTokens) + math.min(quotaCharge, mostTokens) - mostTokens
            if excess > 0 then return 5, waitFor(3, excess) end
        end
        """

    static let admission = "newRequests, newTokens = newRequests + 1, newTokens + quotaCharge"

    /// The use is that before the request.
    static let answer = """
        answer[levels + 4] = wait or 0
        answer[levels + 5] = usedRequests + newRequests - (obstacle == 0 and 1 or 0)
        answer[levels + 6] = usedTokens + newTokens - (obstacle == 0 and ARGV[at + 3] or 0)
        """

    static let storing = """
        if newRequests ~= 0 or newTokens ~= 0 then
            local field, heldRequests, heldTokens = string.format('%.0f', current), 0, 0
            for _, use in ipairs(uses) do
                if use[1] == current then heldRequests, heldTokens = use[2], use[3] end
            end
            redis.call('HSET', KEYS[3], field, string.format('%.0f %.0f', heldRequests + newRequests, heldTokens + newTokens))
            redis.call('PEXPIRE', KEYS[3], string.format('%.0f', 62 * slice / 1000))
        end
        """
}
