import Accounts
import Addresses
import Agents
import Billing
import Catalog
import Configuration
import Crypto
import HTTPClient
import Inference
import JSON
import Jobs
import Logging
import Notifications
import ObjectStore
import OpenAI
import Redis
import Server
import Storage
import Tenancy

/// Everything a gateway process is made of, built once and passed by hand.
struct Assembly {
    let services: Services
    let server: Server
    let routes: [Route]
    let accessLog: AccessLog
    private let authenticator: KeyAuthenticator
    private let catalog: PostgresCatalog
    private let committer: Committer
    private let credit: Credit
    private let limiter: RateLimiter
    private let health: UpstreamHealth
    /// nil where no agents serve.
    private let mesh: MeshLinks?
    /// nil where requests of models are served: they leave no thread for it.
    private let prober: EndpointProber?
    private let invalidation: RedisSubscriber

    init(_ configuration: Configuration) throws {
        var logger = Logger(label: "gateway") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = Logger.Level(rawValue: configuration.logLevel) ?? .info
        let metrics = Metrics()
        let redis = RedisPool(socket: configuration.redisSocket, size: configuration.redisPool)
        let bell = JobBell(redis: redis, logger: logger)
        let system = SystemDatabase(url: configuration.databaseURL, size: configuration.databasePool, afterCommit: bell.ring)
        let tenants = TenantDatabase(url: configuration.databaseURL, size: configuration.databasePool, afterCommit: bell.ring)
        let authenticator = KeyAuthenticator(database: system, logger: logger)
        let masters = try MasterKeys(current: configuration.encryptionKey, previous: configuration.previousEncryptionKey)
        let dataKeys = DataKeys(database: system, masters: masters)
        let sealing = Sealing(keys: dataKeys)
        let catalog = PostgresCatalog(database: tenants, sealing: sealing, logger: logger)
        let objects = Objects(
            store: try Self.store(configuration.store), database: tenants, sealing: sealing,
            hot: HotCopies(redis: redis, timeScale: configuration.timeScale, logger: logger), logger: logger)
        let idempotency = Idempotency(
            tenants: tenants, system: system, sealing: sealing, options: Self.idempotency(configuration), largeAnswers: objects,
            logger: logger)
        let services = Services(
            parser: JSONParser(), metrics: metrics, logger: logger, timeScale: configuration.timeScale,
            proxies: TrustedProxies(configuration.trustedProxies.compactMap { IPRange($0) }), idempotency: idempotency)
        var commits = Committer.Options()
        commits.processNumber = configuration.gateway.number
        let committer = try Committer(
            database: system, journalDirectory: configuration.stateDirectory + "/journal",
            process: "\(configuration.gateway.role)-\(configuration.gateway.number)",
            statements: UsageEvent.statements + Idempotency.statements, options: commits, logger: logger)
        let credit = Credit(
            source: Ledger(database: system, timeScale: configuration.timeScale),
            gateway: "\(configuration.gateway.role)-\(configuration.gateway.number)", timeScale: configuration.timeScale, metrics: metrics,
            logger: logger)
        let limiter = RateLimiter(
            redis: redis, gateways: configuration.gateway.processes, timeScale: configuration.timeScale, logger: logger)
        let health = UpstreamHealth(timeScale: configuration.timeScale)
        var upstreamSettings = HTTPUpstreamSettings()
        upstreamSettings.outbound = OutboundGuard(
            allowHTTP: configuration.egressAllowHTTP, ports: configuration.egressPorts,
            allowRanges: configuration.egressAllowCIDRs.compactMap { IPRange($0) }, allowHosts: configuration.egressAllowHosts,
            ownHosts: configuration.egressOwnHosts)
        upstreamSettings.timeScale = configuration.timeScale
        upstreamSettings.log = { [logger] in logger.warning("\($0)") }
        // An upstream's places are shared out evenly, at least one to each process: all together stay within `max_concurrent` as long as it is
        // not below the number of processes.
        let processes = configuration.gateway.processes
        let mesh = Self.mesh(configuration, logger)
        let upstreams = UpstreamPool(settings: upstreamSettings, health: health, mesh: mesh) {
            max(1, $0.upstream.maxConcurrent / processes)
        }
        self.mesh = mesh
        let invalidations = Invalidations(redis: redis, logger: logger)
        let isPlatform = configuration.gateway.role == "platform"
        let prober =
            isPlatform
            ? EndpointProber(
                probes: EndpointProbes(
                    database: system, sealing: sealing, invalidations: invalidations, timeScale: configuration.timeScale, logger: logger),
                settings: upstreamSettings, logger: logger) : nil
        self.prober = prober
        self.services = services
        self.authenticator = authenticator
        self.catalog = catalog
        self.committer = committer
        self.credit = credit
        self.limiter = limiter
        self.health = health
        // Records live a second at most; messages make changes act at once, and with the connection lost nothing stale is kept.
        invalidation = RedisSubscriber(
            socket: configuration.redisSocket, channel: Invalidations.channel,
            onMessage: { message in
                authenticator.invalidate(message: message)
                dataKeys.invalidate(message: message)
                catalog.invalidate(message: message)
                if message.hasPrefix("project:") { prober?.ring() }
            },
            onLost: {
                authenticator.flush()
                dataKeys.flush()
                catalog.flush()
            })
        accessLog = try AccessLog(path: configuration.gateway.accessLog)
        routes =
            Routes(
                catalog: catalog, limiter: limiter, committer: committer, credit: credit, upstreams: upstreams, database: system,
                tenants: tenants, invalidations: invalidations, outbound: upstreamSettings.outbound,
                cacheSalts: CacheSalts(secret: masters.cacheSalting), promptNames: PromptNames(secret: masters.prefixSalting),
                endpoints: EndpointRoutes(
                    database: tenants, sealing: sealing, outbound: upstreamSettings.outbound, invalidations: invalidations,
                    publicURL: configuration.publicURL),
                webhooks: WebhookRoutes(
                    database: tenants, sealing: sealing, outbound: upstreamSettings.outbound,
                    sender: WebhookSender(upstreamSettings.outbound, timeScale: configuration.timeScale)),
                budgetWebhooks: WebhooksOfBudgets(sealing: sealing), enrolment: try Self.enrolment(configuration, system, redis),
                objects: objects, stripe: try Self.stripe(configuration, outbound: upstreamSettings.outbound)
            ).all
        server = Server(
            routes: routes,
            authenticator: authenticator, services: services, accessLog: accessLog,
            crossOrigin: CrossOrigin(
                CORSTable(authenticator: authenticator, catalog: catalog),
                mode: CrossOrigin.Mode(rawValue: configuration.corsMode) ?? .proxy))
        Self.publish(committer, to: metrics)
        metrics.gauge("limits_alone") { limiter.isAlone ? 1 : 0 }
        // Rows of months without a partition; anything but 0 means that `migrate up` has not run for a year, or a clock is wrong.
        metrics.gauge("usage_default_partition_rows") {
            (try? system.withConnection {
                try $0.query("SELECT count(*) AS rows FROM usage_events_default")[0].get("rows", as: Double.self)
            })
                ?? .nan
        }
        if configuration.gateway.metricsPort > 0 {
            try MetricsListener.start(port: UInt16(configuration.gateway.metricsPort + configuration.gateway.number), metrics)
        }
    }

    private static func idempotency(_ configuration: Configuration) -> Idempotency.Options {
        var options = Idempotency.Options()
        options.leaseSeconds = configuration.idempotencyLeaseSeconds ?? options.leaseSeconds * configuration.timeScale
        options.keptSeconds *= configuration.timeScale
        return options
    }

    private static func store(_ configuration: Configuration.Store) throws -> any ObjectStore {
        let settings = StoreSettings(
            url: configuration.url, bucket: configuration.bucket, accessKey: configuration.accessKey, secretKey: configuration.secretKey,
            region: configuration.region)
        return try (StoreSignature(rawValue: configuration.signature) ?? .v4).store(settings)
    }

    /// nil where no agent can enrol.
    private static func enrolment(_ configuration: Configuration, _ database: SystemDatabase, _ redis: RedisPool) throws -> EnrolmentRoutes?
    {
        guard !configuration.mesh.secretKey.isEmpty else { return nil }
        return EnrolmentRoutes(
            database: database, redis: redis, keys: try MeshKeys(secret: configuration.mesh.secretKey),
            addresses: configuration.mesh.addresses, region: configuration.mesh.region)
    }

    /// nil where no agents serve.
    private static func mesh(_ configuration: Configuration, _ logger: Logger) -> MeshLinks? {
        guard !configuration.mesh.secretKey.isEmpty else { return nil }
        return MeshLinks(sockets: (0..<configuration.mesh.processes).map(configuration.meshSocket), logger: logger)
    }

    /// nil where no callbacks are taken.
    private static func stripe(_ configuration: Configuration, outbound: OutboundGuard) throws -> StripeProvider? {
        let settings = configuration.billing
        guard !settings.stripeWebhookSecrets.isEmpty else { return nil }
        do throws(OutboundRefusal) {
            return try StripeProvider(
                url: settings.stripeURL, secretKey: settings.stripeSecretKey, webhookSecrets: settings.stripeWebhookSecrets,
                outbound: outbound)
        } catch {
            throw SetupError(description: "billing.stripe_url: \(error.apiError.message)")
        }
    }

    private static func publish(_ committer: Committer, to metrics: Metrics) {
        metrics.gauge("commits_total") { Double(committer.metrics.committed) }
        metrics.gauge("commits_journaled_total") { Double(committer.metrics.journaled) }
        metrics.gauge("commits_replayed_total") { Double(committer.metrics.replayed) }
        metrics.gauge("commits_failed_total") { Double(committer.metrics.failed) }
        metrics.gauge("commit_transactions_total") { Double(committer.metrics.transactions) }
        metrics.gauge("commit_queue_depth") { Double(committer.metrics.queueDepth) }
        metrics.gauge("postgres_away") { committer.metrics.isAway ? 1 : 0 }
    }

    /// After the last request: what is still queued becomes durable.
    func shutdown() {
        invalidation.stop()
        prober?.stop()
        health.stop()
        mesh?.stop()
        limiter.stop()
        authenticator.shutdown()
        catalog.shutdown()
        committer.shutdown()
        services.idempotency?.shutdown()
        // After the last settlement, which may have waited in a journal.
        credit.shutdown()
    }
}

/// A setting that cannot be used, in words that name its key.
struct SetupError: Error, CustomStringConvertible {
    var description: String
}
