import Billing
import JSON
import Server

/// The payload of `x_chat.metadata` and of `x_metadata` (02 §4): how a request was routed, counted and timed.
package struct VendorMetadata {
    let settlement: Settlement
    let call: any UpstreamCall
    let event: UsageEvent
    let clamps: [UpstreamBody.Clamp]
    let isUsageEstimated: Bool
    /// Why the answer ended before its time; nil = it did not.
    let stopDetail: String?

    /// The members, without braces and without a comma before the first.
    func write(to json: inout JSONWriter) {
        json.raw(#""routing":{"worker_id":"#)
        json.string(event.workerID ?? "")
        json.raw(#","region":"#)
        json.string(call.region)
        json.raw(#","tier":"#)
        json.string(event.tier)
        json.raw(#","service_tier":"#)
        json.string(event.serviceTier)
        json.raw(#","decision_ms":"#)
        json.raw((Double(event.routerMicroseconds) / 1000).text(decimals: 3))
        json.raw(#","queue_ms":"#)
        json.integer(event.queueMilliseconds)
        json.raw(#","attempts":"#)
        json.integer(event.retries + 1)
        json.raw(#","explored":"#)
        json.bool(call.isExploration)
        if let score = call.score {
            json.raw(#","score":"#)
            json.raw(score.text(decimals: 6))
        }
        json.raw(#"},"usage":{"input_tokens":"#)
        json.integer(event.inputTokens)
        json.raw(#","cached_tokens":"#)
        json.integer(event.cachedTokens)
        json.raw(#","output_tokens":"#)
        json.integer(event.outputTokens)
        json.raw(#","reasoning_tokens":"#)
        json.integer(event.reasoningTokens)
        json.raw(#","cost_usd":"#)
        json.string(Self.dollars(nano: event.costNano))
        json.raw(#"},"timing":{"ttft_ms":"#)
        json.integer(event.timeToFirstTokenMilliseconds ?? event.latencyMilliseconds)
        json.raw(#","total_ms":"#)
        json.integer(event.latencyMilliseconds)
        json.raw(#"},"clamped":{"#)
        for (index, clamp) in clamps.enumerated() {
            if index > 0 { json.raw("," as StaticString) }
            json.string(clamp.name)
            json.raw(#":{"from":"#)
            json.integer(clamp.from)
            json.raw(#","to":"#)
            json.integer(clamp.to)
            json.raw("}" as StaticString)
        }
        json.raw(#"},"usage_estimated":"#)
        json.bool(isUsageEstimated)
        json.raw(#","stop_detail":"#)
        json.string(stopDetail)
    }

    /// Nano-dollars as a decimal string with nine decimals at most and six at least, such as `0.000125`.
    package static func dollars(nano: Int64) -> String {
        let fraction = String(nano % 1_000_000_000)
        var digits = Substring(String(repeating: "0", count: 9 - fraction.count) + fraction)
        while digits.count > 6, digits.last == "0" { digits.removeLast() }
        return "\(nano / 1_000_000_000).\(digits)"
    }
}
