import Accounts
import Addresses
import Configuration
import Crypto
import Dispatch
import Glibc
import HTTPClient
import Jobs
import Logging
import Postgres
import Redis
import Server
import Tenancy
import Threads

/// What each of our workers is made of: its configuration, its database, the bell, metrics, and an end by SIGTERM.
///
/// To be made first in `run`, before any other thread: all of them must leave the signals to the one that waits for them.
public struct WorkerProcess: Sendable {
    public let configuration: Configuration
    public let logger: Logger
    public let metrics = Metrics()
    public let database: SystemDatabase
    public let bell: JobBell
    private let signals: Signals

    /// Reads the configuration.
    /// - Parameters:
    ///   - connections: to Postgres, at most.
    ///   - takesHangups: SIGHUP asks it to read something again.
    public init(_ name: String, connections: Int = 8, takesHangups: Bool = false) throws {
        signals = Signals.block([SIGTERM, SIGINT] + (takesHangups ? [SIGHUP] : []))
        ignoreBrokenPipes()
        configuration = try Configuration.load()
        if configuration.databaseURL.isEmpty { throw ConfigurationError("database.url: missing (XEROTIER_DATABASE_URL)") }
        var logger = Logger(label: name) { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = Logger.Level(rawValue: configuration.logLevel) ?? .info
        self.logger = logger
        var options = ConnectionOptions()
        options.applicationName = name
        let bell = JobBell(redis: RedisPool(socket: configuration.redisSocket, size: 4), logger: logger)
        self.bell = bell
        database = SystemDatabase(
            url: configuration.databaseURL, size: connections, waitMilliseconds: 10_000, options: options, afterCommit: bell.ring)
    }

    /// Seconds of a wait, by the time scale.
    public func scaled(_ seconds: Double) -> Double { seconds * configuration.timeScale }

    /// Opens and seals what is stored for projects.
    public func sealing() throws -> Sealing {
        let masters = try MasterKeys(current: configuration.encryptionKey, previous: configuration.previousEncryptionKey)
        return Sealing(keys: DataKeys(database: database, masters: masters))
    }

    /// Which URLs of tenants may be called.
    public func outbound() -> OutboundGuard {
        OutboundGuard(
            allowHTTP: configuration.egressAllowHTTP, ports: configuration.egressPorts,
            allowRanges: configuration.egressAllowCIDRs.compactMap { IPRange($0) }, allowHosts: configuration.egressAllowHosts,
            ownHosts: configuration.egressOwnHosts)
    }

    /// The options of a worker with the waits of this process.
    public func options(threads: Int, lanes: Worker.LaneLimits? = nil) -> Worker.Options {
        var options = Worker.Options()
        options.threads = threads
        options.lanes = lanes
        options.backoff.first *= configuration.timeScale
        options.backoff.most *= configuration.timeScale
        // Below two seconds a busy machine would lose leases that nobody wants.
        options.leaseSeconds = max(2, scaled(options.leaseSeconds))
        return options
    }

    /// Does the jobs of a queue until SIGTERM, and ends what runs or gives it back. Metrics are at `worker.metrics_port` meanwhile.
    public func work(_ queue: JobQueue, _ options: Worker.Options, _ handlers: [JobHandler]) throws {
        try showMetrics()
        let worker = Worker(
            queue, database: database, redisSocket: configuration.redisSocket, handlers: handlers, options: options, metrics: metrics,
            logger: logger)
        onSignal { worker.stop() }
        logger.notice("working", metadata: ["queue": "\(queue)", "threads": "\(options.threads)"])
        worker.run()
        logger.notice("ended")
    }

    /// Does something every so many seconds until SIGTERM; an error of it is logged, and the next time is another try.
    public func repeating(every seconds: Double, _ body: () throws -> Void) throws {
        try showMetrics()
        let stop = DispatchSemaphore(value: 0)
        onSignal { stop.signal() }
        logger.notice("working", metadata: ["seconds": "\(seconds)"])
        repeat {
            // A database that is away comes back; the work waits for it.
            do { try body() } catch { logger.error("failed", metadata: ["error": "\(error)"]) }
        } while stop.wait(timeout: .now() + seconds) == .timedOut
        logger.notice("ended")
    }

    /// Runs something that looks every moment whether SIGTERM has come, and ends by itself then. Metrics are at `worker.metrics_port` meanwhile.
    /// - Parameter onHangup: what SIGHUP asks for.
    public func serve(onHangup: @escaping @Sendable () -> Void = {}, _ body: (_ isStopped: () -> Bool) throws -> Void) throws {
        try showMetrics()
        let stopped = Lock(false)
        onSignal(hangup: onHangup) { stopped.withLock { $0 = true } }
        try body { stopped.withLock { $0 } }
        logger.notice("ended")
    }

    private func showMetrics() throws {
        guard configuration.workerMetricsPort > 0 else { return }
        try MetricsListener.start(port: UInt16(configuration.workerMetricsPort), metrics)
    }

    private func onSignal(hangup: @escaping @Sendable () -> Void = {}, _ body: @escaping @Sendable () -> Void) {
        let signals = signals
        startThread("signals") {
            while signals.wait() == SIGHUP { hangup() }
            body()
        }
    }
}

/// hiredis and curl write to sockets whose other side may be gone.
private func ignoreBrokenPipes() { _ = signal(SIGPIPE, SIG_IGN) }
