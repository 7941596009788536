import Billing
import Testing

@Suite struct CreditQuoteTests {
    @Test(arguments: [
        (1_000_000_000, 10_000), (1_250_000_000, 15_000), (500_000_000, 7_500), (1, 10_000), (3, 7_500), (999_999_937, 15_000),
        (7_000_000, 1),
    ])
    func moneyBuysTheMostTokensThatCostNoMore(price: Int, multiplier: Int) {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2_000 {
            let quote = CreditQuote(
                promptTokens: .random(in: 0...5_000, using: &generator), priceNanoPerMtok: Int64(price), multiplierBasisPoints: multiplier)
            let money = Int64.random(in: 0...(1 << Int64.random(in: 1...40, using: &generator)), using: &generator)
            let tokens = quote.output(for: money)
            if tokens >= 0 { #expect(quote.cost(output: tokens) <= money) }
            if tokens >= -1 { #expect(quote.cost(output: tokens + 1) > money) }
        }
    }

    @Test func aPromptThatCostsMoreLeavesLessThanNothing() {
        let quote = CreditQuote(promptTokens: 100, priceNanoPerMtok: 1_000_000_000, multiplierBasisPoints: 10_000)
        #expect(quote.cost(output: 20) == 120_000)
        #expect(quote.output(for: 120_000) == 20)
        #expect(quote.output(for: 119_999) == 19)
        #expect(quote.output(for: 60_000) < 0)
    }

    @Test func whatCostsNothingIsBoughtWithoutEnd() {
        #expect(CreditQuote(promptTokens: 5, priceNanoPerMtok: 0, multiplierBasisPoints: 10_000).output(for: 0) == .max)
    }
}
