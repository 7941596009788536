import Billing
import Foundation
import OpenAI
import Server
import Testing

@Suite struct UTCDayTests {
    @Test(arguments: [
        ("1970-01-01", 0), ("1970-12-31", 364), ("2000-02-29", 11_016), ("2026-11-25", 20_782), ("9999-12-31", 2_932_896),
    ])
    func aDayIsItsDistanceFrom1970(text: String, number: Int) throws {
        #expect(UTCDay(text)?.number == number)
        #expect(UTCDay(number: number).description == text)
        #expect(UTCDay(second: number * 86_400 + 86_399) == UTCDay(number: number))
    }

    @Test func everyDayOfFourHundredYearsIsReadAsItIsWritten() {
        for number in 0..<146_097 where UTCDay(UTCDay(number: number).description)?.number != number {
            Issue.record("\(number)")
        }
    }

    @Test(arguments: [
        "", "2026-11-31", "2026-02-29", "2026-13-01", "2026-00-10", "2026-1-01", "26-11-25", "2026-11-25 ", "+026-11-25", "1969-12-31",
        "2026/11/25", "٢٠٢٦-11-25", "2026-11-25T00", "--",
    ])
    func whatIsNoDayIsNone(text: String) {
        #expect(UTCDay(text) == nil)
    }
}

@Suite struct UsageRangeTests {
    private static let now = 1_795_000_000
    private static let today = UTCDay(second: now)

    @Test func aPeriodIsTheBlockOf730HoursSinceTheProjectWasMade() {
        let hours = 3_600
        #expect(UsagePeriod.block(1_000, now: 1_000, back: 0) == UsageRange(start: 1_000, end: 1_000 + 730 * hours))
        #expect(UsagePeriod.block(1_000, now: 1_000 + 730 * hours - 1, back: 0).start == 1_000)
        #expect(UsagePeriod.block(1_000, now: 1_000 + 730 * hours, back: 0).start == 1_000 + 730 * hours)
        #expect(UsagePeriod.block(1_000, now: 1_000 + 730 * hours, back: 1) == UsageRange(start: 1_000, end: 1_000 + 730 * hours))
    }

    @Test func daysAreWholeAndBothIncluded() throws {
        let day = try #require(UTCDay("2026-11-20"))
        let range = try UsageRange.days(Query("from=2026-11-20&to=2026-11-20"), now: Self.now)
        #expect(range == UsageRange(start: day.start, end: day.end))
        #expect(try UsageRange.days(Query("from=\(day.start + 5)&to=\(day.end)"), now: Self.now) == range)
        let usual = try UsageRange.days(Query(""), now: Self.now)
        #expect(usual == UsageRange(start: Self.today.days(before: 29).start, end: Self.today.end))
    }

    @Test(arguments: [
        ("from=yesterday", "from"), ("to=-1", "to"), ("from=2026-11-21&to=2026-11-19", "to"), ("from=2025-01-01&to=2026-11-01", "from"),
        ("from=", "from"), ("to=99999999999999999999", "to"), ("from=%2B5", "from"), ("from=1e3", "from"),
    ])
    func badBoundsAreNamed(query: String, param: String) {
        #expect {
            try UsageRange.days(Query(query), now: Self.now)
        } throws: { ($0 as? APIError)?.code == .invalidValue && ($0 as? APIError)?.param == param }
    }

    @Test func fourHundredDaysAreNotTooMany() throws {
        let first = Self.today.days(before: 399)
        #expect(try UsageRange.days(Query("from=\(first)&to=\(Self.today)"), now: Self.now).start == first.start)
        #expect(throws: APIError.self) { try UsageRange.days(Query("from=\(first.days(before: 1))&to=\(Self.today)"), now: Self.now) }
    }

    @Test func aSpanIsWholeDaysAndWhatIsLeftAtItsEnds() {
        let day = Self.today.days(before: 10)
        func span(_ start: Int, _ end: Int) -> UsageSpan { UsageSpan(UsageRange(start: start, end: end), now: Self.now) }
        let long = span(day.start + 100, day.end + 2 * 86_400 + 200)
        #expect(long.firstDay == day.next && long.endDay == UTCDay(number: day.number + 3))
        #expect(long.before == UsageRange(start: day.start + 100, end: day.end))
        #expect(long.after == UsageRange(start: day.end + 2 * 86_400, end: day.end + 2 * 86_400 + 200))
        let short = span(day.start + 100, day.start + 200)
        #expect(short.firstDay == short.endDay && short.before == UsageRange(start: day.start + 100, end: day.start + 200))
        let midnight = span(day.start + 100, day.end + 100)
        #expect(midnight.firstDay == midnight.endDay && midnight.before == UsageRange(start: day.start + 100, end: day.end + 100))
        // Today ends with now.
        let running = span(day.start, Self.now + 86_400 * 20)
        #expect(running.firstDay == day && running.endDay == Self.today.next)
        #expect(running.before.start == running.before.end && running.after.start == running.after.end)
    }

    @Test func parametersThatNobodyReadsAreRefused() throws {
        try Query("a=1&b=2").allow(["a", "b"])
        for (query, param) in [("a=1&c=2", "c"), ("a=1&a=2", "a"), ("A=1", "A"), ("a%3D=1", "a=")] {
            #expect {
                try Query(query).allow(["a", "b"])
            } throws: { ($0 as? APIError)?.param == param }
        }
    }
}

@Suite struct UsageHistogramTests {
    /// As `usage_histogram` in infra/postgres writes them.
    private static func bytes(_ pairs: [(Int, Int)]) -> [UInt8] {
        pairs.flatMap { bucket, count in [UInt8(bucket)] + withUnsafeBytes(of: UInt64(count).bigEndian) { Array($0) } }
    }

    @Test func twoHistogramsOneBehindTheOtherAreTheirSum() {
        let sum = UsageHistogram(Self.bytes([(0, 1), (48, 2), (255, 1 << 40)]) + Self.bytes([(48, 5)]))
        #expect(sum.counts == [0: 1, 48: 7, 255: 1 << 40])
        #expect(UsageHistogram([]).quantile(0.5) == nil)
    }

    @Test(arguments: [0, 1, 7, 100, 999, 60_000, 3_600_000])
    func aQuantileIsRightToFivePercent(milliseconds: Int) throws {
        let bucket = Int((log(Double(milliseconds) + 1) / log(1.1)).rounded(.down))
        let read = try #require(UsageHistogram(Self.bytes([(bucket, 10)])).quantile(0.99))
        #expect(abs(Double(read - milliseconds)) <= 0.05 * Double(milliseconds) + 1)
    }

    @Test func quantilesGoByRank() {
        let histogram = UsageHistogram(Self.bytes([(10, 50), (20, 49), (30, 1)]))
        func middle(_ bucket: Int) -> Int { Int((pow(1.1, Double(bucket) + 0.5) - 1).rounded()) }
        #expect(histogram.quantile(0.5) == middle(10))
        #expect(histogram.quantile(0.51) == middle(20))
        #expect(histogram.quantile(0.99) == middle(20))
        #expect(histogram.quantile(1) == middle(30))
    }
}

@Suite struct CSVTests {
    @Test func cellsAreQuotedAndFormulasDisarmed() {
        var csv = CSV(names: ["a", "b"])
        csv.line(["=1+1", "plain"])
        csv.line(["+1", "-1"])
        csv.line(["@x", "say \"hi\", twice"])
        csv.line(["two\nlines", "\t=1"])
        csv.line(["", "a=b"])
        #expect(
            String(decoding: csv.bytes, as: UTF8.self)
                == "a,b\r\n'=1+1,plain\r\n'+1,'-1\r\n'@x,\"say \"\"hi\"\", twice\"\r\n\"two\nlines\",'\t=1\r\n,a=b\r\n")
    }

    @Test func dollarsHaveNineDecimals() {
        #expect(NanoUSD.fixed(0) == "0.000000000")
        #expect(NanoUSD.fixed(1_500_000_001) == "1.500000001")
        #expect(NanoUSD.fixed(-25) == "-0.000000025")
        #expect(NanoUSD.fixed(.max) == "9223372036.854775807")
    }
}
