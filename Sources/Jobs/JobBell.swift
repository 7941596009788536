import Logging
import OpenAI
import Redis

/// Says over Redis Streams that there are jobs: one entry for each, with its identifier. A lost entry costs time alone, because the sweeper rings again.
public struct JobBell: Sendable {
    private let redis: RedisPool
    private let logger: Logger

    /// One transaction may write thousands of jobs, but to wake all workers of a queue takes fewer.
    static let mostRings = 64
    /// The stream's length: who is so far behind looks into the table anyway.
    private static let mostEntries = 10_000

    public init(redis: RedisPool, logger: Logger) {
        self.redis = redis
        self.logger = logger
    }

    static func stream(_ queue: String) -> String { Vendor.redisPrefix + "jobs:" + queue }

    /// What a connection keeps until its transaction is committed, to be given to `ring`.
    package static func note(_ queue: JobQueue, _ id: String) -> String { "\(queue.name) \(id)" }

    /// - Parameter notes: as `note` makes them.
    public func ring(_ notes: [String]) {
        var rings: [String: Int] = [:]
        var commands: [[RedisArgument]] = []
        for note in notes {
            guard let space = note.firstIndex(of: " ") else { continue }
            let queue = String(note[..<space])
            rings[queue, default: 0] += 1
            guard rings[queue, default: 0] <= Self.mostRings else { continue }
            commands.append([
                "XADD", .string(Self.stream(queue)), "MAXLEN", "~", .integer(Self.mostEntries), "*", "id",
                .string(String(note[note.index(after: space)...])),
            ])
        }
        guard !commands.isEmpty else { return }
        do {
            _ = try redis.withConnection { try $0.pipeline(commands) }
        } catch {
            logger.warning("workers were not told of jobs at once", metadata: ["error": "\(error)"])
        }
    }
}

/// Hears the rings of one queue. Of several workers in the group one hears each ring. It belongs to one thread.
struct JobListener {
    private let socket: String
    private let stream: String
    private let consumer: String
    private let blockMilliseconds: Int
    private var connection: RedisConnection?

    private static let group = "workers"

    init(socket: String, queue: JobQueue, consumer: String, blockMilliseconds: Int = 2_000) {
        self.socket = socket
        stream = JobBell.stream(queue.name)
        self.consumer = consumer
        self.blockMilliseconds = blockMilliseconds
    }

    /// Waits for a ring, two seconds at most. The first call, and one after a loss, says yes at once: what was rung meanwhile is not known.
    /// - Parameter most: rings that are taken from the others, at most.
    /// - Throws: `RedisError` while Redis is away.
    mutating func wait(hearing most: Int) throws -> Bool {
        do {
            guard let connection else {
                try connect()
                return true
            }
            // Without acknowledgements: the row's lease says who has a job, so an entry that was heard has done its part.
            let reply = try connection.command([
                "XREADGROUP", "GROUP", .string(Self.group), .string(consumer), "COUNT", .integer(most), "BLOCK",
                .integer(blockMilliseconds), "NOACK", "STREAMS", .string(stream), ">",
            ])
            return reply != .null
        } catch RedisError.refused(let message) where message.hasPrefix("NOGROUP") {
            // Redis was emptied, or came back without what it had.
            try makeGroup()
            return true
        } catch {
            connection = nil
            throw error
        }
    }

    private mutating func connect() throws {
        connection = try RedisConnection(
            socket: socket, connectTimeout: .milliseconds(200), commandTimeout: .milliseconds(blockMilliseconds + 3_000))
        try makeGroup()
    }

    private func makeGroup() throws {
        do {
            _ = try connection?.command(["XGROUP", "CREATE", .string(stream), .string(Self.group), "$", "MKSTREAM"])
        } catch RedisError.refused(let message) where message.hasPrefix("BUSYGROUP") {}
    }
}
