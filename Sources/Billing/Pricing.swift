/// Prices in whole numbers: nano-USD, and factors in basis points (10,000 = 100 %).
public enum Pricing {
    /// `((input - cached)*P + cached*P/4 + output*P) * M / 10000 / 1e6`, rounded half up once.
    ///
    /// - Parameters:
    ///   - cached: the part of `input` that was read from the prefix cache, at a quarter of the price; more than `input` counts as `input`.
    ///   - priceNanoPerMtok: nano-USD for 1,000,000 tokens.
    /// - Returns: nano-USD; a cost beyond `Int64.max` (nine billion dollars) is cut to it.
    public static func cost(input: Int, cached: Int, output: Int, priceNanoPerMtok: Int64, multiplierBasisPoints: Int) -> Int64 {
        let cached = min(cached, input)
        // Everything times four, so that the quarter price stays a whole number until the one division.
        let quarterTokens = 4 * Int128(input - cached) + Int128(cached) + 4 * Int128(output)
        let numerator = quarterTokens * Int128(priceNanoPerMtok) * Int128(multiplierBasisPoints)
        let denominator: Int128 = 4 * 10_000 * 1_000_000
        return Int64(clamping: (2 * numerator + denominator) / (2 * denominator))
    }
}
