import Dispatch
import Threads

/// Lends connections to Redis, made when needed and kept.
///
/// While Redis is away a call fails at once: after a failure only one caller in each `pause` tries it again.
public final class RedisPool: Sendable {
    private let socket: String
    private let connectTimeout: Duration
    private let commandTimeout: Duration
    private let waitTimeout: Duration
    private let pause: Duration
    private let places: DispatchSemaphore
    private let state = Lock(State())

    private struct State {
        var idle: [IdleConnection] = []
        /// While Redis is away: when the next caller may try.
        var nextTry: ContinuousClock.Instant?
    }

    /// The connection is in the pool's list or lent to one caller, never both, so only one thread uses it at a time.
    private struct IdleConnection: @unchecked Sendable { let connection: RedisConnection }

    /// - Parameters:
    ///   - size: the most connections at once.
    ///   - waitTimeout: the longest wait for a connection that is lent out.
    ///   - pause: how long after a failure all calls but one are refused.
    public init(
        socket: String, size: Int, connectTimeout: Duration = .milliseconds(100), commandTimeout: Duration = .seconds(1),
        waitTimeout: Duration = .milliseconds(250), pause: Duration = .milliseconds(250)
    ) {
        self.socket = socket
        self.connectTimeout = connectTimeout
        self.commandTimeout = commandTimeout
        self.waitTimeout = waitTimeout
        self.pause = pause
        // Made empty and filled: a DispatchSemaphore may not end below its first value.
        places = DispatchSemaphore(value: 0)
        for _ in 0..<max(1, size) { places.signal() }
    }

    /// Lends a connection for the length of `body`. A connection that failed meanwhile is dropped.
    /// - Throws: `RedisError`, or what `body` throws.
    public func withConnection<T>(_ body: (RedisConnection) throws -> T) throws -> T {
        try checkNotAway()
        guard places.wait(timeout: .now() + waitTimeout.seconds) == .success else { throw RedisError.poolExhausted }
        defer { places.signal() }
        let connection = try takeConnection()
        defer { giveBack(connection) }
        return try body(connection)
    }

    /// Whether calls are refused because Redis did not answer lately.
    public var isAway: Bool { state.withLock { $0.nextTry != nil } }

    private func checkNotAway() throws {
        let isRefused = state.withLock { state in
            guard let nextTry = state.nextTry else { return false }
            let now = ContinuousClock.now
            if now < nextTry { return true }
            state.nextTry = now + pause
            return false
        }
        if isRefused { throw RedisError.away }
    }

    private func takeConnection() throws -> RedisConnection {
        if let idle = state.withLock({ $0.idle.popLast() }) { return idle.connection }
        do {
            return try RedisConnection(socket: socket, connectTimeout: connectTimeout, commandTimeout: commandTimeout)
        } catch {
            refuseForAWhile()
            throw error
        }
    }

    /// When one connection broke the others are probably broken too, so none is kept.
    private func giveBack(_ connection: RedisConnection) {
        guard connection.isUsable else { return refuseForAWhile(unless: connection.canReconnect) }
        let idle = IdleConnection(connection: connection)
        state.withLock { state in
            state.nextTry = nil
            state.idle.append(idle)
        }
    }

    private func refuseForAWhile(unless isWorthTrying: Bool = false) {
        let dropped = state.withLock { state in
            if !isWorthTrying { state.nextTry = .now + pause }
            defer { state.idle = [] }
            return state.idle
        }
        _ = dropped  // closed here, outside the lock
    }
}

extension Duration {
    /// In seconds, for interfaces that take no Duration.
    var seconds: Double {
        let (whole, attoseconds) = components
        return Double(whole) + Double(attoseconds) * 1e-18
    }
}
