import Glibc

/// A value that threads share under a lock, and wait on for changes; over pthread_mutex_t and pthread_cond_t on the monotonic clock.
///
/// `@unchecked Sendable`: the value is reached only with the lock held. While a thread waits it holds neither the lock nor any access to the value.
public final class Monitor<Value>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    public init(_ initial: Value) {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
        value.initialize(to: initial)
    }

    deinit {
        value.deinitialize(count: 1)
        value.deallocate()
        pthread_cond_destroy(condition)
        condition.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    public func withLock<Answer>(_ body: (inout Value) throws -> Answer) rethrows -> Answer {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value.pointee)
    }

    /// Changes the value and wakes everybody who waits; after the lock is free, or they would only wait again, for it.
    public func change<Answer>(_ body: (inout Value) throws -> Answer) rethrows -> Answer {
        defer { wakeAll() }
        return try withLock(body)
    }

    /// Wakes everybody who waits, after a change by `withLock`.
    public func wakeAll() { pthread_cond_broadcast(condition) }

    /// Wakes one of those who wait, where any of them can do what is to be done.
    public func wakeOne() { pthread_cond_signal(condition) }

    /// Waits while `isWaiting` holds, at most for `limit` seconds, and then runs `body` under the same lock.
    public func wait<Answer>(
        atMost limit: Double? = nil, while isWaiting: (Value) -> Bool, then body: (inout Value) throws -> Answer
    ) rethrows -> Answer {
        var end = limit.map(Self.instant(after:))
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while isWaiting(value.pointee) {
            if end == nil {
                pthread_cond_wait(condition, mutex)
            } else if pthread_cond_timedwait(condition, mutex, &end!) == ETIMEDOUT {
                break
            }
        }
        return try body(&value.pointee)
    }

    private static func instant(after seconds: Double) -> timespec {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let nanoseconds = now.tv_nsec + Int(max(0, min(seconds, 1e9)) * 1e9)
        return timespec(tv_sec: now.tv_sec + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
    }
}
