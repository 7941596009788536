import Dispatch
import Foundation

/// A bounded pool of connections to one database.
public final class Database: Sendable {
    private let url: String
    private let options: ConnectionOptions
    private let waitMilliseconds: Int
    private let places = DispatchSemaphore(value: 0)
    private let idle = Idle()

    /// - Parameters:
    ///   - size: the most connections that exist at a time.
    ///   - waitMilliseconds: how long a caller waits for a connection before `poolExhausted`.
    public init(url: String, size: Int, waitMilliseconds: Int = 2_000, options: ConnectionOptions = ConnectionOptions()) {
        self.url = url
        self.options = options
        self.waitMilliseconds = waitMilliseconds
        // Counted up from 0: libdispatch stops a process that releases a semaphore below its first value.
        for _ in 0..<size { places.signal() }
    }

    /// Lends a connection to `body`, which must not keep it, and must not wait for anything but the database.
    ///
    /// A connection that broke, or was left inside a transaction, is not lent again.
    public func withConnection<Value>(_ body: (Connection) throws -> Value) throws -> Value {
        guard places.wait(timeout: .now() + .milliseconds(waitMilliseconds)) == .success else { throw PostgresError.poolExhausted }
        defer { places.signal() }
        let connection = try idle.take() ?? connect()
        defer { if connection.isReusable { idle.put(connection) } }
        return try body(connection)
    }

    /// Lends a connection inside a transaction.
    public func transaction<Value>(_ body: (Connection) throws -> Value) throws -> Value {
        try withConnection { connection in try connection.transaction { try body(connection) } }
    }

    /// A connection outside of the pool, owned by the caller.
    public func connect(options: ConnectionOptions? = nil) throws -> Connection {
        try Connection(url: url, options: options ?? self.options)
    }
}

/// The connections that nobody uses now.
///
/// `@unchecked Sendable`: connections are only reached under the lock, and one that is taken is no longer in here, so that each has one
/// user at any time; libpq allows a connection to move between threads.
private final class Idle: @unchecked Sendable {
    private let lock = NSLock()
    private var connections: [Connection] = []

    /// The one used last, as long as the server has not closed it.
    func take() -> Connection? {
        while let connection = lock.withLock({ connections.popLast() }) {
            if !connection.isStale { return connection }
        }
        return nil
    }

    func put(_ connection: Connection) { lock.withLock { connections.append(connection) } }
}
