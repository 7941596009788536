import Billing
import Testing

@Suite struct NanoUSDTests {
    @Test(arguments: [
        ("100", 100_000_000_000), ("0.50", 500_000_000), ("0.000000001", 1), ("1.5", 1_500_000_000), ("007", 7_000_000_000),
        ("999999999.999999999", 999_999_999_999_999_999), ("0", 0),
    ])
    func dollarsAsPeopleWriteThem(text: String, nano: Int64) {
        #expect(NanoUSD.parse(text) == nano)
    }

    @Test(arguments: [
        "", "-1", "+1", "1e3", "NaN", "inf", "1.", ".5", "1.0000000001", "1,000", " 1", "1 ", "0x10", "1000000000", "1.2.3", "١",
    ])
    func whatIsNoAmountIsRefused(text: String) {
        #expect(NanoUSD.parse(text) == nil)
    }

    @Test(arguments: [
        (0, "0"), (125_000, "0.000125"), (-3_500_000_000, "-3.5"), (100_000_000_000, "100"), (1, "0.000000001"),
        (Int64.max, "9223372036.854775807"), (Int64.min, "-9223372036.854775808"),
    ])
    func textIsExact(nano: Int64, text: String) {
        #expect(NanoUSD.text(nano) == text)
    }
}
