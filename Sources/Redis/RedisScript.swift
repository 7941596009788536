import Threads

/// A Lua script that runs inside Redis as one step (https://redis.io/docs/latest/develop/programmability/eval-intro/).
///
/// Redis keeps scripts by their hash and forgets them when it restarts; then the source is sent again.
public final class RedisScript: Sendable {
    public let source: String
    private let hash = Lock<String?>(nil)

    public init(_ source: String) { self.source = source }

    public func run(on commander: some RedisCommander, keys: [String], arguments: [RedisArgument]) throws -> RedisReply {
        let hash = try loadedHash(on: commander)
        return try evaluateIfForgotten(on: commander, keys, arguments) { try commander.command(command("EVALSHA", hash, keys, arguments)) }
    }

    /// Sends the script without waiting for it.
    /// - Returns: what waits for the answer; it is to be called once.
    public func begin(on pipeline: RedisPipeline, keys: [String], arguments: [RedisArgument]) throws -> () throws -> RedisReply {
        let pending = pipeline.begin(command("EVALSHA", try loadedHash(on: pipeline), keys, arguments))
        return { try self.evaluateIfForgotten(on: pipeline, keys, arguments) { try pending.reply() } }
    }

    private func evaluateIfForgotten(
        on commander: some RedisCommander, _ keys: [String], _ arguments: [RedisArgument], _ reply: () throws -> RedisReply
    ) throws -> RedisReply {
        do {
            return try reply()
        } catch RedisError.refused(let message) where message.hasPrefix("NOSCRIPT") {
            return try commander.command(command("EVAL", source, keys, arguments))
        }
    }

    private func command(_ name: String, _ script: String, _ keys: [String], _ arguments: [RedisArgument]) -> [RedisArgument] {
        var words: [RedisArgument] = []
        words.reserveCapacity(3 + keys.count + arguments.count)
        words.append(.string(name))
        words.append(.string(script))
        words.append(.integer(keys.count))
        for key in keys { words.append(.string(key)) }
        words.append(contentsOf: arguments)
        return words
    }

    /// The hash depends on the source alone: it is asked for once and never changes.
    private func loadedHash(on commander: some RedisCommander) throws -> String {
        if let known = hash.withLock({ $0 }) { return known }
        let reply = try commander.command(["SCRIPT", "LOAD", .string(source)])
        guard let loaded = reply.string else { throw RedisError.refused("SCRIPT LOAD gave no hash") }
        hash.withLock { $0 = loaded }
        return loaded
    }
}
