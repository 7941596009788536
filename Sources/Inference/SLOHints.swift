import OpenAI
import Server

/// The latency hints of 05 §7: checked on every call, weighed where workers are scored.
enum SLOHints {
    static func check(_ request: Request) throws {
        try check(request.header("HTTP_X_SLO_TTFT_MS"), "X-SLO-TTFT-Ms", 1...600_000)
        try check(request.header("HTTP_X_SLO_TPOT_MS"), "X-SLO-TPOT-Ms", 1...60_000)
    }

    private static func check(_ text: String?, _ name: String, _ range: ClosedRange<Int>) throws {
        guard let text else { return }
        guard let value = Int(text), range.contains(value) else {
            throw APIError.invalid(name, "'\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound).")
        }
    }
}
