import Billing
import Foundation
import OpenAI
import Testing

@Suite struct PricingTests {
    @Test(arguments: [
        (1_000_000, 0, 0, 1_000_000_000, 10_000, 1_000_000_000),
        (1_000_000, 1_000_000, 0, 1_000_000_000, 10_000, 250_000_000),
        (100, 40, 10, 1_250_000_000, 10_000, 100_000),
        (100, 40, 10, 1_250_000_000, 7_500, 75_000),
        (0, 0, 0, 1_000_000_000, 10_000, 0),
        (10, 0, 10, 0, 15_000, 0),
        // 0.5 nano rounds up, 0.49… down.
        (1, 0, 0, 500_000, 10_000, 1),
        (1, 0, 0, 499_999, 10_000, 0),
        (1, 1, 0, 2_000_000, 10_000, 1),
        (1, 1, 0, 1_999_999, 10_000, 0),
        // More cached than read counts as read.
        (10, 99, 0, 4_000_000, 10_000, 10),
    ])
    func followsTheFormula(input: Int, cached: Int, output: Int, price: Int64, multiplier: Int, cost: Int64) {
        #expect(
            Pricing.cost(input: input, cached: cached, output: output, priceNanoPerMtok: price, multiplierBasisPoints: multiplier) == cost)
    }

    @Test func hugeAmountsDoNotOverflow() {
        let cost = Pricing.cost(
            input: .max / 8, cached: 0, output: .max / 8, priceNanoPerMtok: .max / 1_000_000, multiplierBasisPoints: 15_000)
        #expect(cost == .max)
    }
}

@Suite struct UsageRowTests {
    @Test func theRowIsJSONWithEveryValue() throws {
        let project = ID<Project>.random()
        var event = UsageEvent(
            id: "use_1", projectID: project, requestID: "req_1", surface: .webSearch, tier: "demo", isStream: true,
            priceNanoPerMtok: 1_000_000_000, createdAtMicroseconds: 1_795_514_553_000_042)
        event.modelName = "a\"b\\c\n\u{1}\0ü🙂"
        event.inputTokens = 100
        event.outputTokens = 7
        event.charge()
        let object = try #require(JSONSerialization.jsonObject(with: Data(event.commitRow.json)) as? [String: Any])
        #expect(object["project_id"] as? String == project.description)
        #expect(object["model_name"] as? String == "a\"b\\c\n\u{1}\u{FFFD}ü🙂")
        #expect(object["surface"] as? String == "web_search")
        #expect(object["cost_nano"] as? Int == 107_000)
        #expect(object["is_stream"] as? Bool == true)
        #expect(object["created_at"] as? String == "2026-11-24T10:02:33.000042Z")
        #expect(object["error_code"] == nil)
        #expect(!event.commitRow.json.contains(UInt8(ascii: "\n")))
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000000Z"), (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"), (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
    ])
    func timesAreUTC(microseconds: Int64, text: String) throws {
        let event = UsageEvent(
            id: "", projectID: .random(), requestID: "", surface: .chat, tier: "", isStream: false, priceNanoPerMtok: 0,
            createdAtMicroseconds: microseconds)
        #expect(String(decoding: event.commitRow.json, as: UTF8.self).contains("\"created_at\":\"\(text)\""))
    }
}
