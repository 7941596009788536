/// Amounts of money as text: dollars with up to nine decimals outside, whole nano-USD inside. No floating point in between.
public enum NanoUSD {
    public static let perDollar: Int64 = 1_000_000_000
    /// Card processors count cents.
    public static let perCent: Int64 = 10_000_000

    /// Such as `0.000125`, `-3.5` or `100`: exact, without zeros at the end.
    public static func text(_ nano: Int64) -> String {
        let (dollars, rest) = nano.magnitude.quotientAndRemainder(dividingBy: UInt64(perDollar))
        let sign = nano < 0 ? "-" : ""
        guard rest > 0 else { return "\(sign)\(dollars)" }
        let digits = String(rest)
        var fraction = String(repeating: "0", count: 9 - digits.count) + digits
        while fraction.last == "0" { fraction.removeLast() }
        return "\(sign)\(dollars).\(fraction)"
    }

    /// Such as `0.000125000`: always nine decimals, so that columns of amounts line up and add up.
    public static func fixed(_ nano: Int64) -> String {
        let (dollars, rest) = nano.magnitude.quotientAndRemainder(dividingBy: UInt64(perDollar))
        let digits = String(rest)
        return "\(nano < 0 ? "-" : "")\(dollars).\(String(repeating: "0", count: 9 - digits.count))\(digits)"
    }

    /// Dollars as a person writes them: up to nine digits, and up to nine decimals after a point. nil for all else: signs, exponents, `NaN`.
    public static func parse(_ text: String) -> Int64? {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard let dollars = number(parts[0]) else { return nil }
        guard parts.count == 2 else { return dollars * perDollar }
        guard let fraction = number(parts[1]) else { return nil }
        let scale = (parts[1].count..<9).reduce(Int64(1)) { scale, _ in scale * 10 }
        return dollars * perDollar + fraction * scale
    }

    private static func number(_ digits: Substring.UTF8View.SubSequence) -> Int64? {
        guard (1...9).contains(digits.count), digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        return digits.reduce(Int64(0)) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
    }
}
