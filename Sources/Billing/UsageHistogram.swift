import Foundation

/// How often which times occurred, as `daily_usage_rollups` keeps it: see `usage_histogram` in infra/postgres for the form of the bytes.
package struct UsageHistogram: Sendable, Equatable {
    /// Counts by the number of the bucket; bucket b holds the times t (in ms) with 1.1^b <= t + 1 < 1.1^(b+1).
    package private(set) var counts: [Int: Int] = [:]

    private static let pair = 9

    /// Out of pairs of a bucket and its count; a bucket that stands there several times is summed.
    package init(_ bytes: [UInt8]) {
        for start in stride(from: 0, through: bytes.count - Self.pair, by: Self.pair) {
            let count = bytes[(start + 1)..<(start + Self.pair)].reduce(0) { $0 << 8 | Int($1) }
            counts[Int(bytes[start]), default: 0] += count
        }
    }

    package var total: Int { counts.values.reduce(0, +) }

    /// The time in ms that this part of all times, above 0 and up to 1, does not exceed: right to 5 %. nil when there are none.
    package func quantile(_ part: Double) -> Int? {
        let rank = Int((part * Double(total)).rounded(.up))
        var seen = 0
        for (bucket, count) in counts.sorted(by: { $0.key < $1.key }) {
            seen += count
            // The middle of the bucket, as far apart from its lower end as from its upper one by their quotient.
            if seen >= rank { return Int((pow(1.1, Double(bucket) + 0.5) - 1).rounded()) }
        }
        return nil
    }
}
