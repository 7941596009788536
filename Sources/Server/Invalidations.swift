import Logging
import OpenAI
import Redis

/// Tells all gateways to forget what changed. Send it after the commit: a message that came before would only have the old records read again.
///
/// Caches live a second at most, so a lost message only costs that.
public struct Invalidations: Sendable {
    public static let channel = Vendor.redisPrefix + "invalidate"

    private let redis: RedisPool
    private let logger: Logger

    public init(redis: RedisPool, logger: Logger) {
        self.redis = redis
        self.logger = logger
    }

    public func publish(_ message: String) {
        do {
            _ = try redis.withConnection { try $0.command(["PUBLISH", .string(Self.channel), .string(message)]) }
        } catch {
            logger.warning("the gateways were not told of a change at once", metadata: ["error": "\(error)"])
        }
    }
}
