/// A calendar day of UTC, by its distance from 1970-01-01. The calendar is the Gregorian one.
public struct UTCDay: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let number: Int

    public init(number: Int) { self.number = number }

    /// The day that a unix time in seconds lies in.
    public init(second: Int) { number = Int((Double(second) / 86_400).rounded(.down)) }

    /// `2026-11-25`, of the years 1970 to 9999. nil for another form, and for days that there are not.
    public init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard text.utf8.count == 10, parts.map(\.utf8.count) == [4, 2, 2],
            parts.allSatisfy({ $0.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } }),
            let year = Int(parts[0]), let month = Int(parts[1]), let day = Int(parts[2]), year >= 1970, (1...12).contains(month)
        else { return nil }
        self.init(number: Self.number(year, month, day))
        // The 31st of a shorter month would have become a day of the next one.
        guard description == text else { return nil }
    }

    /// Unix seconds of its first moment.
    public var start: Int { number * 86_400 }
    /// Unix seconds of the first moment after it.
    public var end: Int { start + 86_400 }
    public var next: UTCDay { UTCDay(number: number + 1) }

    public func days(before count: Int) -> UTCDay { UTCDay(number: number - count) }

    public static func < (left: UTCDay, right: UTCDay) -> Bool { left.number < right.number }

    /// As in ISO 8601.
    public var description: String {
        let (year, month, day) = civil
        func padded(_ value: Int, _ digits: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
    }

    /// Years that begin in March make the leap day the last of a year: howardhinnant.github.io/date_algorithms.html
    private static func number(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private var civil: (year: Int, month: Int, day: Int) {
        let shifted = number + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
