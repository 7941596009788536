import Foundation

/// A value that threads share, and wait on for changes.
///
/// `@unchecked Sendable`: the value is reached only under the lock.
package final class Monitor<Value>: @unchecked Sendable {
    private let condition = NSCondition()
    private var value: Value

    package init(_ value: Value) { self.value = value }

    package func withLock<Answer>(_ body: (inout Value) throws -> Answer) rethrows -> Answer {
        condition.lock()
        defer { condition.unlock() }
        return try body(&value)
    }

    /// Changes the value and wakes everybody who waits.
    package func change<Answer>(_ body: (inout Value) throws -> Answer) rethrows -> Answer {
        try withLock { value in
            defer { condition.broadcast() }
            return try body(&value)
        }
    }

    /// Waits while `isWaiting` holds, at most for `limit`, and then runs `body` under the same lock.
    package func wait<Answer>(
        atMost limit: TimeInterval? = nil, while isWaiting: (Value) -> Bool, then body: (inout Value) throws -> Answer
    ) rethrows -> Answer {
        let end = limit.map { Date(timeIntervalSinceNow: $0) }
        condition.lock()
        defer { condition.unlock() }
        // No `inout` access to the value may span a wait: others change the value meanwhile.
        while isWaiting(value) {
            // `Date.distantFuture` would overflow inside of Foundation.
            guard let end else {
                condition.wait()
                continue
            }
            guard condition.wait(until: end) else { break }
        }
        return try body(&value)
    }
}

/// Starts a thread of ours. The stack fits blocking work that calls into C.
package func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.stackSize = 512 << 10
    thread.start()
}
