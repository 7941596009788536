import Foundation
import Threads

/// What was read a moment ago: answers are at most `maximumAge` old, and older ones are never given, also when reading fails.
///
/// Keys in use are read again by one thread before they get old, so that requests seldom wait; several threads that miss the same key share
/// one read. "There is none" is remembered too, in a table of its own, so that wrong keys do not displace right ones.
public final class FreshCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    public typealias Instant = ContinuousClock.Instant

    private struct Entry {
        var value: Value?
        /// When the read began; the answer is as old as that.
        var readAt: Instant
        var isUsed = false
    }

    private struct Tables {
        var present: [Key: Entry] = [:]
        var absent: [Key: Entry] = [:]
        /// Reads under way that began after the last invalidation of their key; only their answers are kept.
        var reading: [Key: Flight] = [:]
        var isStopped = false
        var nextSweep: Instant
    }

    /// One read, and who waits for it. `@unchecked Sendable`: `result` is only reached under the lock of the tables.
    private final class Flight: @unchecked Sendable {
        var result: Result<Value?, any Error>?
    }

    private let maximumAge: Duration
    private let capacity: Int
    private let load: @Sendable (Key) throws -> Value?
    private let now: @Sendable () -> Instant
    private let tables: Monitor<Tables>

    /// - Parameters:
    ///   - capacity: the most entries in each of the two tables.
    ///   - load: reads a value, on the thread of the caller; nil = there is none.
    public init(
        maximumAge: Duration = .seconds(1), capacity: Int, now: @escaping @Sendable () -> Instant = { .now },
        load: @escaping @Sendable (Key) throws -> Value?
    ) {
        self.maximumAge = maximumAge
        self.capacity = capacity
        self.now = now
        self.load = load
        tables = Monitor(Tables(nextSweep: now()))
    }

    /// The value of `key`, read now if none is fresh; throws what the read throws.
    public func value(for key: Key) throws -> Value? {
        switch lookUp(key) {
        case .fresh(let value): value
        case .read(let flight): try read(key, flight)
        case .wait(let flight): try outcome(of: flight)
        }
    }

    /// Forgets everything; reads that are under way are not kept.
    public func flush() { invalidate { _, _ in true } }

    public func invalidate(_ key: Key) { invalidate { other, _ in other == key } }

    /// Forgets the entries that match; `value` is nil for a remembered absence.
    public func invalidate(where isMatch: (_ key: Key, _ value: Value?) -> Bool) {
        tables.change { tables in
            tables.present = tables.present.filter { !isMatch($0.key, $0.value.value) }
            tables.absent = tables.absent.filter { !isMatch($0.key, nil) }
            tables.reading = [:]
        }
    }

    /// Reads again, once, what was used since its last read and has passed three fifths of its age. Failures are left to the next caller.
    public func refresh() {
        let due = now() - maximumAge * 3 / 5
        let keys = tables.withLock { tables in
            (tables.present.filter { $0.value.isUsed && $0.value.readAt <= due }).map(\.key)
        }
        for key in keys {
            guard case .read(let flight) = tables.withLock({ Self.beginRead(key, in: &$0) }) else { continue }
            _ = try? read(key, flight)
        }
    }

    /// Starts the thread that calls `refresh` every tenth of the age, until `stop`.
    public func startRefreshing(name: String) {
        let pause = max(maximumAge / 10 / .seconds(1), 0.001)
        startThread(name) {
            while !self.tables.withLock({ $0.isStopped }) {
                Thread.sleep(forTimeInterval: pause)
                self.refresh()
            }
        }
    }

    public func stop() { tables.change { $0.isStopped = true } }

    public var count: (present: Int, absent: Int) { tables.withLock { ($0.present.count, $0.absent.count) } }

    private enum Step {
        case fresh(Value?)
        case read(Flight)
        case wait(Flight)
    }

    private func lookUp(_ key: Key) -> Step {
        let oldest = now() - maximumAge
        return tables.withLock { tables in
            if let entry = tables.present[key], entry.readAt > oldest {
                if !entry.isUsed { tables.present[key]?.isUsed = true }
                return .fresh(entry.value)
            }
            if let entry = tables.absent[key], entry.readAt > oldest { return .fresh(nil) }
            return Self.beginRead(key, in: &tables)
        }
    }

    private static func beginRead(_ key: Key, in tables: inout Tables) -> Step {
        if let flight = tables.reading[key] { return .wait(flight) }
        let flight = Flight()
        tables.reading[key] = flight
        return .read(flight)
    }

    private func outcome(of flight: Flight) throws -> Value? {
        try tables.wait(while: { _ in flight.result == nil }, then: { _ in try flight.result?.get() ?? nil })
    }

    private func read(_ key: Key, _ flight: Flight) throws -> Value? {
        let readAt = now()
        let result = Result { try load(key) }
        tables.change { tables in
            flight.result = result
            guard tables.reading[key] === flight else { return }
            tables.reading[key] = nil
            if case .success(let value) = result { keep(Entry(value: value, readAt: readAt), for: key, in: &tables) }
        }
        return try result.get()
    }

    private func keep(_ entry: Entry, for key: Key, in tables: inout Tables) {
        if entry.value != nil {
            tables.absent[key] = nil
            if tables.present[key] == nil { makeRoom(\.present, in: &tables) }
            tables.present[key] = entry
        } else {
            tables.present[key] = nil
            if tables.absent[key] == nil { makeRoom(\.absent, in: &tables) }
            tables.absent[key] = entry
        }
    }

    /// Old entries go first, looked for at most once an age; then any one.
    private func makeRoom(_ table: WritableKeyPath<Tables, [Key: Entry]>, in tables: inout Tables) {
        guard tables[keyPath: table].count >= capacity else { return }
        let now = now()
        if now >= tables.nextSweep {
            tables.nextSweep = now + maximumAge
            tables.present = tables.present.filter { $0.value.readAt > now - maximumAge }
            tables.absent = tables.absent.filter { $0.value.readAt > now - maximumAge }
        }
        if tables[keyPath: table].count >= capacity, let key = tables[keyPath: table].keys.first { tables[keyPath: table][key] = nil }
    }
}
