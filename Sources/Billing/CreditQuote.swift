/// What a request may cost before its tokens are known: its prompt, uncached, and so many tokens of output.
public struct CreditQuote: Sendable, Equatable {
    public var promptTokens: Int
    public var priceNanoPerMtok: Int64
    public var multiplierBasisPoints: Int

    public init(promptTokens: Int, priceNanoPerMtok: Int64, multiplierBasisPoints: Int) {
        self.promptTokens = promptTokens
        self.priceNanoPerMtok = priceNanoPerMtok
        self.multiplierBasisPoints = multiplierBasisPoints
    }

    /// In nano-USD.
    public func cost(output: Int) -> Int64 {
        Pricing.cost(
            input: promptTokens, cached: 0, output: output, priceNanoPerMtok: priceNanoPerMtok, multiplierBasisPoints: multiplierBasisPoints
        )
    }

    /// The most tokens of output for which `cost` is not more than `money`; below 0 when the prompt alone costs more. `Int.max` where output
    /// costs nothing.
    public func output(for money: Int64) -> Int {
        let factor = Int128(priceNanoPerMtok) * Int128(multiplierBasisPoints)
        guard factor > 0 else { return .max }
        // cost <= money means tokens * factor / 10^10 < money + 1/2, since halves round up.
        let tokens = ((2 * Int128(money) + 1) * 10_000_000_000 - 1) / (2 * factor)
        return Int(clamping: tokens - Int128(promptTokens))
    }
}
