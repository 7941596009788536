import Glibc

/// A value behind a lock, for threads that wait for nothing but each other; over pthread_mutex_t.
///
/// The standard library's `Mutex` is a priority-inheriting futex on Linux: under contention it spins and hands itself over through the kernel, which
/// cost a sixth of the gateway's CPU. A plain pthread mutex sleeps instead.
///
/// `@unchecked Sendable`: the value is reached only with the lock held.
public final class Lock<Value>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    public init(_ initial: Value) {
        pthread_mutex_init(mutex, nil)
        value.initialize(to: initial)
    }

    deinit {
        value.deinitialize(count: 1)
        value.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    public func withLock<Answer>(_ body: (inout Value) throws -> Answer) rethrows -> Answer {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value.pointee)
    }
}
