import Foundation

/// Runs `body` on a thread of its own and waits for it without blocking the cooperative pool.
///
/// Blocking C calls inside `@Test` would starve the pool's two threads, so every contract test does its work in here.
@discardableResult
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        let thread = Thread { continuation.resume(with: Result { try body() }) }
        thread.name = "test"
        thread.stackSize = 1 << 20
        thread.start()
    }
}

/// Starts `count` threads with `body`, numbered from 0, and waits for all of them. Call it inside `onThread`.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for number in 0..<count {
        group.enter()
        let thread = Thread {
            body(number)
            group.leave()
        }
        thread.stackSize = 1 << 19
        thread.start()
    }
    group.wait()
}

/// Asks `condition` every few milliseconds until it holds or the time is up.
func eventually(within limit: Duration = .seconds(5), _ condition: () throws -> Bool) rethrows -> Bool {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
        if try condition() { return true }
        usleep(5_000)
    }
    return try condition()
}

/// What is cleared away when the test process ends.
enum AtExit {
    private static let lock = NSLock()
    nonisolated(unsafe) private static var actions: [@Sendable () -> Void] = []

    static func add(_ action: @escaping @Sendable () -> Void) {
        lock.withLock {
            if actions.isEmpty { atexit(runActionsAtExit) }
            actions.append(action)
        }
    }

    static func run() { lock.withLock { actions }.forEach { $0() } }
}

private func runActionsAtExit() { AtExit.run() }
