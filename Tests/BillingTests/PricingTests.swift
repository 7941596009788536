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
    /// The columns of a record as Postgres would read them: type and bytes; nil = NULL.
    private static func columns(_ record: [UInt8]) -> [(type: Int32, bytes: [UInt8]?)] {
        var rest = record[...]
        func number() -> Int32 {
            defer { rest = rest.dropFirst(4) }
            return rest.prefix(4).reduce(0) { $0 << 8 | Int32($1) }
        }
        let count = number()
        let columns: [(type: Int32, bytes: [UInt8]?)] = (0..<count).map { _ in
            let (type, length) = (number(), Int(number()))
            guard length >= 0 else { return (type, nil) }
            defer { rest = rest.dropFirst(length) }
            return (type, Array(rest.prefix(length)))
        }
        #expect(rest.isEmpty)
        return columns
    }

    private static func integer(_ bytes: [UInt8]?) -> Int64? { bytes.map { $0.reduce(0) { $0 << 8 | Int64($1) } } }

    /// 2000-01-01, where Postgres' time begins, in microseconds.
    private static let epoch: Int64 = 946_684_800_000_000

    @Test func theRowIsARecordWithEveryValue() throws {
        let project = ID<Project>.random()
        var event = UsageEvent(
            id: "use_1", projectID: project, requestID: "req_1", surface: .webSearch, tier: "demo", isStream: true,
            priceNanoPerMtok: 1_000_000_000, createdAtMicroseconds: 1_795_514_553_000_042)
        event.modelName = "a\"b\\c\n\u{1}\0ü🙂"
        event.inputTokens = 100
        event.outputTokens = 7
        event.charge()
        let columns = Self.columns(event.commitRow(hold: nil, held: 300).bytes)
        #expect(columns.count == 37)
        func text(_ index: Int) -> String? { columns[index].bytes.map { String(decoding: $0, as: UTF8.self) } }
        #expect(text(1) == project.description)
        #expect(text(5) == "a\"b\\c\n\u{1}\u{FFFD}ü🙂")
        #expect(text(10) == "web_search")
        #expect(columns[15].bytes == [1])
        #expect(Self.integer(columns[20].bytes) == 107_000)
        #expect(columns[24] == (25, nil))
        #expect(Self.integer(columns[34].bytes) == 1_795_514_553_000_042 - Self.epoch)
        #expect(columns[35].bytes == nil && Self.integer(columns[36].bytes) == 300)
    }

    @Test(arguments: [Int64(0), 951_782_399_999_999, 4_107_542_400_000_000, -1])
    func timesCountFromPostgresEpoch(microseconds: Int64) throws {
        let event = UsageEvent(
            id: "", projectID: .random(), requestID: "", surface: .chat, tier: "", isStream: false, priceNanoPerMtok: 0,
            createdAtMicroseconds: microseconds)
        #expect(Self.integer(Self.columns(event.commitRow.bytes)[34].bytes) == microseconds - Self.epoch)
    }
}
