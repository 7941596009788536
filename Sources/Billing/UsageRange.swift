import OpenAI
import Server

/// A part of time, from `start` on and before `end`, in unix seconds.
package struct UsageRange: Sendable, Equatable {
    package var start: Int
    package var end: Int

    package init(start: Int, end: Int) {
        self.start = start
        self.end = end
    }

    /// So many days a question may cover.
    static let mostDays = 400

    /// Whole days: `from` to `to`, both included; else the last thirty.
    package static func days(_ query: Query, now: Int) throws -> UsageRange {
        let today = UTCDay(second: now)
        // A time names the day it lies in; one that is excluded, the day before it.
        let last = try bound("to", query, isEnd: true).map { UTCDay(second: $0 - 1) } ?? today
        let first = try bound("from", query, isEnd: false).map { UTCDay(second: $0) } ?? last.days(before: 29)
        return try UsageRange(start: first.start, end: last.end).checked()
    }

    /// `from` must be given; `to` is now where it is not.
    package static func custom(_ query: Query, now: Int) throws -> UsageRange {
        guard let start = try bound("from", query, isEnd: false) else { throw APIError.missing("from") }
        return try UsageRange(start: start, end: try bound("to", query, isEnd: true) ?? max(now, start + 1)).checked()
    }

    private func checked() throws -> UsageRange {
        guard start < end else { throw APIError.invalid("to", "'to' must be after 'from'.") }
        guard end - start <= Self.mostDays * 86_400 else {
            throw APIError.invalid("from", "'from' and 'to' may be \(Self.mostDays) days apart.")
        }
        return self
    }

    /// A bound as clients write it: a day of UTC such as `2026-11-25`, which is meant from its beginning to its end, or unix seconds, of which
    /// `to` is the first that is not meant.
    static func bound(_ name: String, _ query: Query, isEnd: Bool) throws -> Int? {
        guard let text = query[name] else { return nil }
        if let day = UTCDay(text) { return isEnd ? day.end : day.start }
        // The end of the year 9999.
        guard let second = Int(text), (0...253_402_300_799).contains(second), text.utf8.first != UInt8(ascii: "+") else {
            throw APIError.invalid(name, "'\(name)' must be a day of UTC such as 2026-11-25, or a time in unix seconds.")
        }
        return second
    }
}

/// The blocks of 730 hours in which a project's usage is told, one after the other since it was made.
package enum UsagePeriod {
    static let seconds = 730 * 3_600

    /// The block that `now` lies in, or one before it.
    /// - Parameter created: when the project was made, unix seconds.
    package static func block(_ created: Int, now: Int, back: Int) -> UsageRange {
        let number = max(0, now - created) / seconds - back
        return UsageRange(start: created + number * seconds, end: created + (number + 1) * seconds)
    }
}

/// A range taken apart into whole days, which the rollups know, and what is left at its ends, for which single requests are summed.
package struct UsageSpan: Sendable, Equatable {
    /// Whole days, the last one excluded; none where both are the same.
    package var firstDay: UTCDay
    package var endDay: UTCDay
    package var before: UsageRange
    package var after: UsageRange

    /// - Parameter now: nothing has happened after it, so that the day it lies in may be taken as whole.
    package init(_ range: UsageRange, now: Int) {
        let end = range.end > now ? max(range.start, UTCDay(second: now).end) : range.end
        let (first, last) = (UTCDay(second: range.start + 86_399), UTCDay(second: end))
        let none = UsageRange(start: end, end: end)
        if first < last {
            (firstDay, endDay) = (first, last)
            before = UsageRange(start: range.start, end: first.start)
            after = UsageRange(start: last.start, end: end)
        } else {
            (firstDay, endDay) = (last, last)
            before = UsageRange(start: range.start, end: end)
            after = none
        }
    }

    /// The first second of which single requests are needed; nil = of none.
    var oldestSingle: Int? { [before, after].filter { $0.start < $0.end }.map(\.start).min() }
}
