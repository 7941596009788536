import Crypto
import Logging
import Redis
import Tenancy

/// Copies of small objects in Redis (03 §1, 08 §4), sealed as they are in the store, so that what was lately written or read does not ask the store.
///
/// They decide nothing: whether an object exists is said by its row, which is read before; a copy counts only when it opens for its place and has the
/// digest that the row names. To lose them costs time. Redis being away is said by those who need it, not here.
public struct HotCopies: Sendable {
    private let redis: RedisPool
    private let timeScale: Double
    private let logger: Logger

    /// Of plain text; larger objects have no copy.
    public static let largest = 256 << 10

    /// Copies may fill half of what Redis may hold, or, where nothing bounds it, 1 GiB with all else: counters must always find room.
    /// ARGV: the copy, seconds. `used_memory` and `maxmemory`: see redis.io/docs/latest/commands/info
    private static let keep = RedisScript(
        """
        local memory = redis.call('INFO', 'memory')
        local most = tonumber(memory:match('\\nmaxmemory:(%d+)')) / 2
        if most == 0 then most = 1073741824 end
        if tonumber(memory:match('used_memory:(%d+)')) + #ARGV[1] > most then return 0 end
        redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
        return 1
        """)

    public init(redis: RedisPool, timeScale: Double, logger: Logger) {
        self.redis = redis
        self.timeScale = timeScale
        self.logger = logger
    }

    static func fits(_ object: ObjectManifest) -> Bool { object.parts == 1 && object.bytes <= largest }

    private static func key(_ place: ObjectPlace) -> String { "hot:\(place.key)" }

    /// The sealed part; nil = there is no copy, or Redis does not answer.
    func part(of place: ObjectPlace) -> [UInt8]? {
        guard case .bytes(let bytes)? = attempt({ try $0.command(["GET", .string(Self.key(place))]) }) else { return nil }
        return bytes
    }

    /// - Parameter seconds: how long the project's copies stay, before the scale of time; 0 = not at all.
    func keep(_ part: [UInt8], of place: ObjectPlace, seconds: Int) {
        let scaled = Int((Double(seconds) * timeScale).rounded(.up))
        guard scaled > 0 else { return }
        _ = attempt { try Self.keep.run(on: $0, keys: [Self.key(place)], arguments: [.bytes(part), .integer(scaled)]) }
    }

    /// After a deletion, so that nothing of it stays longer than it must.
    func forget(_ place: ObjectPlace) { _ = attempt { try $0.command(["DEL", .string(Self.key(place))]) } }

    private func attempt(_ body: (RedisConnection) throws -> RedisReply) -> RedisReply? {
        do {
            return try redis.withConnection(body)
        } catch {
            logger.debug("no hot copy", metadata: ["error": "\(error)"])
            return nil
        }
    }
}

extension TenantConnection {
    /// How long hot copies of the project stay, in seconds: as its longest tier says; without endpoints as the shortest of all does (03 §7).
    func hotSeconds() throws -> Int {
        try query(
            """
            SELECT coalesce(max(hot_retention_s) FILTER (WHERE used), min(hot_retention_s), 0) AS seconds FROM (
                SELECT hot_retention_s, EXISTS (SELECT 1 FROM endpoints WHERE project_id = \(project) AND tier = slug AND deleted_at IS NULL) AS used
                FROM service_tiers) AS tiers
            """)[0].get("seconds")
    }
}
