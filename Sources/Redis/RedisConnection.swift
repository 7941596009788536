import CRedis
import Glibc

/// One connection to Redis, over hiredis (https://github.com/redis/hiredis/tree/v0.14.1). It belongs to one thread at a time.
///
/// The process must ignore SIGPIPE: hiredis writes to a socket whose other side may be gone.
public final class RedisConnection {
    private let context: UnsafeMutablePointer<redisContext>
    private var writer = CommandWriter()
    /// False after a failure: answers may be on the way for a command that was given up.
    private(set) var isUsable = true
    /// After a failure: true when Redis closed the connection, so that a new one may work at once; false after a silence.
    private(set) var canReconnect = false

    public init(socket: String, connectTimeout: Duration, commandTimeout: Duration) throws {
        guard let context = redisConnectUnixWithTimeout(socket, timeval(connectTimeout)) else {
            throw RedisError.unreachable("out of memory")
        }
        self.context = context
        guard context.pointee.err == 0, redisSetTimeout(context, timeval(commandTimeout)) == REDIS_OK else {
            throw RedisError.unreachable(context.pointee.problem)
        }
    }

    deinit { redisFree(context) }

    var descriptor: Int32 { context.pointee.fd }

    /// Sends one command and waits for its answer.
    /// - Throws: `RedisError`; for an error answer `refused`.
    public func command(_ arguments: [RedisArgument]) throws -> RedisReply {
        try append(arguments)
        let reply = try nextReply()
        if case .error(let message) = reply { throw RedisError.refused(message) }
        return reply
    }

    /// Sends the commands in one go and gives an answer for each, errors among them.
    public func pipeline(_ commands: [[RedisArgument]]) throws -> [RedisReply] {
        for arguments in commands { try append(arguments) }
        return try commands.map { _ in try nextReply() }
    }

    func append(_ arguments: [RedisArgument]) throws {
        writer.removeAll()
        writer.write(arguments)
        let status = writer.bytes.withUnsafeBytes {
            redisAppendFormattedCommand(context, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
        }
        guard status == REDIS_OK else { throw failure() }
    }

    func nextReply() throws -> RedisReply {
        guard let reply = try takeReply({ redisGetReply(context, $0) }) else { throw failure() }
        return reply
    }

    /// Asks a subscribed connection for a sign of life, which comes as a reply like any other.
    func sendPing() throws {
        try append(["PING"])
        var isDone: Int32 = 0
        while isDone == 0 {
            guard redisBufferWrite(context, &isDone) == REDIS_OK else { throw failure() }
        }
    }

    /// Takes what the socket has, without an answer to wait for. The caller knows that it is readable.
    func readAvailable() throws {
        guard redisBufferRead(context) == REDIS_OK else { throw failure() }
    }

    /// An answer that has fully arrived, if any.
    func arrivedReply() throws -> RedisReply? {
        try takeReply { redisGetReplyFromReader(context, $0) }
    }

    private func takeReply(_ get: (UnsafeMutablePointer<UnsafeMutableRawPointer?>) -> Int32) throws -> RedisReply? {
        var raw: UnsafeMutableRawPointer?
        errno = 0
        guard get(&raw) == REDIS_OK else { throw failure() }
        guard let raw else { return nil }
        defer { freeReplyObject(raw) }
        return RedisReply(raw.assumingMemoryBound(to: redisReply.self))
    }

    private func failure() -> RedisError {
        let isTimeout = context.pointee.err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK)
        isUsable = false
        canReconnect = !isTimeout
        return isTimeout ? .timedOut : .lost(context.pointee.problem)
    }
}

extension redisContext {
    fileprivate var problem: String {
        withUnsafeBytes(of: errstr) { text in String(decoding: text.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

private func timeval(_ duration: Duration) -> timeval {
    let (seconds, attoseconds) = duration.components
    return Glibc.timeval(tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
}
