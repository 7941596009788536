import Dispatch
import Threads

/// Something that takes one command at a time: a connection, or a pipeline over many threads' commands.
public protocol RedisCommander {
    /// Sends one command and waits for its answer.
    /// - Throws: `RedisError`; for an error answer `refused`.
    func command(_ arguments: [RedisArgument]) throws -> RedisReply
}

extension RedisConnection: RedisCommander {}

/// Sends the commands of many threads together. A command that comes while a round trip is under way waits and shares the next one, so that
/// under load a system call, on this side and on Redis', serves many; a command that comes alone goes out at once, on its caller's thread.
public final class RedisPipeline: RedisCommander, Sendable {
    private let redis: RedisPool
    private let state = Monitor(State())

    private struct State {
        var waiting: [PendingReply] = []
        /// A round trip is under way, or the thread has been asked for one.
        var isBusy = false
        var isThreadsTurn = false
        var isStopping = false
        var isStopped = false
    }

    public init(redis: RedisPool, name: String) {
        self.redis = redis
        startThread(name) { self.sendUntilStopped() }
    }

    public func command(_ arguments: [RedisArgument]) throws -> RedisReply {
        // While Redis is away the pool refuses all but a few at once; nobody shall wait behind one of those few.
        if redis.isAway { return try redis.withConnection { try $0.command(arguments) } }
        if let pending = waitWithOthers(arguments) { return try pending.reply() }
        defer { passOn() }
        return try redis.withConnection { try $0.command(arguments) }
    }

    /// Sends a command without waiting; `PendingReply.reply` waits.
    public func begin(_ arguments: [RedisArgument]) -> PendingReply {
        let pending = PendingReply(arguments)
        let isWaking = state.withLock { state in
            state.waiting.append(pending)
            guard !state.isBusy else { return false }
            state.isBusy = true
            state.isThreadsTurn = true
            return true
        }
        if isWaking { state.wakeAll() }
        return pending
    }

    /// Ends the thread, after what waits. Nothing may be sent any more.
    public func stop() {
        state.change { $0.isStopping = true }
        state.wait(while: { !$0.isStopped }, then: { _ in })
    }

    /// nil = nothing is under way, and the caller is to make the round trip and then call `passOn`.
    private func waitWithOthers(_ arguments: [RedisArgument]) -> PendingReply? {
        state.withLock { state in
            guard state.isBusy else {
                state.isBusy = true
                return nil
            }
            let pending = PendingReply(arguments)
            state.waiting.append(pending)
            return pending
        }
    }

    private func passOn() {
        let isWaking = state.withLock { state in
            state.isBusy = !state.waiting.isEmpty
            state.isThreadsTurn = state.isBusy
            return state.isBusy
        }
        if isWaking { state.wakeAll() }
    }

    private func sendUntilStopped() {
        while let batch = nextBatch() { send(batch) }
        state.change { $0.isStopped = true }
    }

    private func nextBatch() -> [PendingReply]? {
        state.wait(while: { !$0.isThreadsTurn && !$0.isStopping }) { state in
            guard state.isThreadsTurn else { return nil }
            defer { state.waiting = [] }
            return state.waiting
        }
    }

    private func send(_ batch: [PendingReply]) {
        do {
            let replies = try redis.withConnection { try $0.pipeline(batch.map(\.arguments)) }
            for (pending, reply) in zip(batch, replies) { pending.finish(.success(reply)) }
        } catch {
            for pending in batch { pending.finish(.failure(error)) }
        }
        // Here and not in the next turn, so that a lone caller finds nothing under way.
        state.withLock { state in
            state.isBusy = !state.waiting.isEmpty
            state.isThreadsTurn = state.isBusy
        }
    }
}

/// A command on its way, and the thread that waits for its answer.
///
/// `@unchecked Sendable`: `result` is written by the pipeline's thread before it signals, and read by the waiter after.
public final class PendingReply: @unchecked Sendable {
    fileprivate let arguments: [RedisArgument]
    private let done = DispatchSemaphore(value: 0)
    private var result: Result<RedisReply, any Error>?

    fileprivate init(_ arguments: [RedisArgument]) { self.arguments = arguments }

    fileprivate func finish(_ result: Result<RedisReply, any Error>) {
        self.result = result
        done.signal()
    }

    /// Waits for the answer; it may be called once.
    /// - Throws: `RedisError`; for an error answer `refused`.
    public func reply() throws -> RedisReply {
        done.wait()
        guard let result else { throw RedisError.refused("no answer") }
        let reply = try result.get()
        if case .error(let message) = reply { throw RedisError.refused(message) }
        return reply
    }
}
