import Threads

/// A Lua script that runs inside Redis as one step (https://redis.io/docs/latest/develop/programmability/eval-intro/).
///
/// Redis keeps scripts by their hash and forgets them when it restarts; then the source is sent again.
public final class RedisScript: Sendable {
    public let source: String
    private let hash = Lock<String?>(nil)

    public init(_ source: String) { self.source = source }

    public func run(on connection: RedisConnection, keys: [String], arguments: [RedisArgument]) throws -> RedisReply {
        let reply = try runAll(on: connection, [Call(keys: keys, arguments: arguments)])[0]
        if case .error(let message) = reply { throw RedisError.refused(message) }
        return reply
    }

    /// Runs the script for several sets of keys in one round trip.
    /// - Returns: an answer for each, errors among them.
    public func runAll(on connection: RedisConnection, _ calls: [Call]) throws -> [RedisReply] {
        let hash = try loadedHash(on: connection)
        var replies = try connection.pipeline(calls.map { command("EVALSHA", hash, $0.keys, $0.arguments) })
        for (index, reply) in replies.enumerated() {
            guard case .error(let message) = reply, message.hasPrefix("NOSCRIPT") else { continue }
            replies[index] = try connection.pipeline([command("EVAL", source, calls[index].keys, calls[index].arguments)])[0]
        }
        return replies
    }

    public struct Call {
        public var keys: [String]
        public var arguments: [RedisArgument]

        public init(keys: [String], arguments: [RedisArgument]) {
            self.keys = keys
            self.arguments = arguments
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
    private func loadedHash(on connection: RedisConnection) throws -> String {
        if let known = hash.withLock({ $0 }) { return known }
        let reply = try connection.command(["SCRIPT", "LOAD", .string(source)])
        guard let loaded = reply.string else { throw RedisError.refused("SCRIPT LOAD gave no hash") }
        hash.withLock { $0 = loaded }
        return loaded
    }
}
