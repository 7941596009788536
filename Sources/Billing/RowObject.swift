import JSON

/// Writes one flat JSON object. Absent members are left out: the database reads them as NULL.
struct RowObject {
    private var json = JSONWriter(capacity: 1_024)

    init() {}

    mutating func add(_ name: StaticString, _ value: String?) {
        guard let value else { return }
        addName(name)
        // Postgres has no NUL in texts and would refuse the whole row.
        json.string(value.utf8.contains(0) ? String(value.unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : Character($0) }) : value)
    }

    mutating func add(_ name: StaticString, _ value: (some FixedWidthInteger)?) {
        guard let value else { return }
        addName(name)
        json.integer(value)
    }

    mutating func add(_ name: StaticString, _ value: Bool) {
        addName(name)
        json.bool(value)
    }

    consuming func finish() -> [UInt8] {
        json.raw("}" as StaticString)
        return json.bytes
    }

    /// Names are ours and need no escapes.
    private mutating func addName(_ name: StaticString) {
        json.raw((json.bytes.isEmpty ? "{\"" : ",\"") as StaticString)
        json.raw(name)
        json.raw("\":" as StaticString)
    }
}

/// ISO 8601 in UTC with microseconds, without the cost of a formatter.
enum UTCTime {
    static func text(microseconds: Int64) -> String {
        let (seconds, fraction) = floorDivide(microseconds, by: 1_000_000)
        let (days, second) = floorDivide(seconds, by: 86_400)
        let (year, month, day) = date(days: days)
        var text = Array("0000-00-00T00:00:00.000000Z".utf8)
        write(year, to: &text, endingAt: 4)
        write(month, to: &text, endingAt: 7)
        write(day, to: &text, endingAt: 10)
        write(second / 3_600, to: &text, endingAt: 13)
        write(second / 60 % 60, to: &text, endingAt: 16)
        write(second % 60, to: &text, endingAt: 19)
        write(fraction, to: &text, endingAt: 26)
        return String(decoding: text, as: UTF8.self)
    }

    /// Puts the digits of a number over the zeros before `end`.
    private static func write(_ value: Int64, to text: inout [UInt8], endingAt end: Int) {
        var (rest, index) = (value, end)
        while rest > 0 {
            index -= 1
            text[index] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
    }

    /// The civil date of a day count since 1970, by Howard Hinnant's algorithm: howardhinnant.github.io/date_algorithms.html#civil_from_days
    private static func date(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = floorDivide(days + 719_468, by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func floorDivide(_ value: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}
