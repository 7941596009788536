import ArgumentParser
import Foundation
import Glibc
import Logging
import Supervision
import Threads

/// Dials out to the routers and serves the models of the engine beside it.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Connects to the routers and serves the models of an engine; runs until SIGTERM, or until the agent is revoked.",
        discussion: """
            Each of its flags has a variable: \(AgentVariable.all.map(AgentVariable.flag).joined(separator: " ")).
            SIGHUP reads \(AgentVariable.file) again: LOG_LEVEL, MAX_CONCURRENT and SHUTDOWN_GRACE_SECONDS change at once.
            """)

    // Ours to read: a bad value is to name its variable, whether it came as flag, variable or line of the file.
    @Argument(parsing: .captureForPassthrough, help: "Flags, such as --engine-url http://127.0.0.1:8000.") var flags: [String] = []

    func run() throws {
        if flags.contains("--help") || flags.contains("-h") { return print(Self.helpMessage()) }
        let signals = Signals.block([SIGTERM, SIGINT, SIGHUP])
        signal(SIGPIPE, SIG_IGN)
        let source = SettingSource(flags: try AgentVariable.flags(flags))
        let settings = try source.settings()
        let state = StateDirectory()
        guard let enrolment = try state.enrolment() else {
            throw AgentProblem("not enrolled: run `xerotier-xim-agent enroll --join-key ...` first")
        }
        guard !enrolment.routerAddresses.isEmpty else { throw AgentProblem("the router has no address; enroll again") }
        let agent = try RunningAgent(settings, enrolment, state)
        startThread("signals") {
            while true {
                guard signals.wait() == SIGHUP else { return agent.stop() }
                agent.reload(source)
            }
        }
        try agent.run()
    }
}

/// The agent while it runs: its engine, its sessions with all routers, and what it tells of itself.
private final class RunningAgent: Sendable {
    /// Requests at a time where neither the settings nor the enrolment nor the engine says how many.
    private static let usualConcurrency = 32

    private struct Sessions {
        /// Addresses of routers that have one, or had one that is over.
        var begun: Set<String> = []
        var running = 0
        var problem: AgentProblem?
    }

    private let enrolment: KeptEnrolment
    private let state: StateDirectory
    private let serving: Serving
    private let engine: SupervisedEngine?
    private let coalesce: Duration
    private let grace: Lock<Duration>
    private let level: Lock<Logger.Level>
    private let logger: Logger
    private let isStopped = Lock(false)
    /// When a session took its last turn.
    private let lastTurn = Lock(ContinuousClock.now)
    private let sessions = Monitor(Sessions())
    private let notices = ProcessInfo.processInfo.environment["NOTIFY_SOCKET"]

    init(_ settings: AgentSettings, _ enrolment: Enrolment, _ state: StateDirectory) throws {
        self.enrolment = KeptEnrolment(enrolment, in: state)
        self.state = state
        let level = Lock(Self.level(settings))
        self.level = level
        logger = Logger(label: "xim") { _ in AgentLog(level) }
        grace = Lock(.seconds(settings.shutdownGrace))
        coalesce = .milliseconds(settings.coalesceMilliseconds)
        let metrics = AgentMetrics()
        if let port = settings.metricsPort { try StatusPort.open(metrics, address: settings.metricsAddress, port: port) }
        engine = SupervisedEngine(settings, own: ProcessInfo.processInfo.environment, logger: logger)
        guard let url = settings.engineURL ?? engine?.url else {
            throw SettingError("ENGINE_URL", "is missing: an OpenAI-compatible server that runs already; or MODEL, for an engine to start")
        }
        if let engine { metrics.watch(engine, model: settings.servedName ?? "") }
        let most = Self.most(settings, enrolment)
        let served = ServedEngine(url: url, apiKey: engine?.key ?? settings.engineAPIKey, supervised: engine, most: most, logger: logger)
        serving = Serving(served, most: most, metrics: metrics, supervised: engine)
    }

    private static func most(_ settings: AgentSettings, _ enrolment: Enrolment) -> Int {
        if settings.maxConcurrent > 0 { return settings.maxConcurrent }
        if enrolment.maxConcurrent > 0 { return enrolment.maxConcurrent }
        return settings.startsEngine ? EngineCommand.slots(settings) : usualConcurrency
    }

    private static func level(_ settings: AgentSettings) -> Logger.Level { Logger.Level(rawValue: settings.logLevel.rawValue) ?? .info }

    func stop() {
        ServiceNotice.stopping.send(to: notices)
        isStopped.withLock { $0 = true }
    }

    /// What may change while the agent runs; a file that cannot be changes nothing.
    func reload(_ source: SettingSource) {
        do {
            let settings = try source.settings()
            level.withLock { $0 = Self.level(settings) }
            grace.withLock { $0 = .seconds(settings.shutdownGrace) }
            serving.allow(Self.most(settings, enrolment.now))
            logger.notice("settings are read again")
        } catch { logger.error("settings stay as they are", metadata: ["error": "\(error)"]) }
    }

    /// A session on a thread of its own with each router. One that ends with a fault ends all.
    /// - Throws: `AgentProblem`.
    func run() throws {
        enrolment.now.routerAddresses.forEach(begin(at:))
        startThread("token") { [self] in
            do { try TokenCare(enrolment, state, logger: logger).run { isStopped.withLock { $0 } } } catch {
                let ended = error as? AgentProblem ?? AgentProblem("the token could not be kept: \(error)")
                sessions.change { $0.problem = $0.problem ?? ended }
            }
        }
        ServiceNotice.ready.send(to: notices)
        let goesOn: (Sessions) -> Bool = { $0.running > 0 && $0.problem == nil }
        while sessions.wait(atMost: 15, while: goesOn, then: { goesOn($0) }) {
            let isTurning = lastTurn.withLock { ContinuousClock.now - $0 < .seconds(15) }
            if isTurning { ServiceNotice.alive.send(to: notices) }
        }
        serving.engine.stop()
        engine?.stop()
        guard let found = sessions.withLock({ $0.problem }) else { return }
        // A new join key makes it an agent again.
        if found.isRevoked { try state.forget() }
        throw found
    }

    /// Where there is no session with this router yet.
    private func begin(at address: String) {
        let isNew = sessions.withLock { sessions in
            let isNew = sessions.begun.insert(address).inserted
            if isNew { sessions.running += 1 }
            return isNew
        }
        guard isNew else { return }
        startThread("session") { [self] in
            var (isGone, ended) = (false, AgentProblem?.none)
            do { isGone = try session(at: address) } catch {
                ended = error as? AgentProblem ?? AgentProblem("the session with the router failed: \(error)")
            }
            sessions.change { sessions in
                sessions.running -= 1
                sessions.problem = sessions.problem ?? ended
                if isGone { sessions.begun.remove(address) }
            }
            // It may have come back meanwhile.
            if isGone && !isRemoved(address) { begin(at: address) }
        }
    }

    private func isRemoved(_ address: String) -> Bool { !enrolment.now.routerAddresses.contains(address) }

    /// The router at `address` has said where all routers are: there are sessions with these and no others from now on.
    private func learn(_ addresses: [String], from address: String) throws {
        // An address that the routers do not know is this agent's own, such as one through a tunnel, and is the one to keep.
        guard addresses.contains(address), addresses != enrolment.now.routerAddresses else { return }
        try enrolment.change { $0.routerAddresses = addresses }
        logger.notice("routers", metadata: ["addresses": "\(addresses.joined(separator: ", "))"])
        addresses.forEach(begin(at:))
    }

    /// - Returns: whether the router is none any more.
    private func session(at address: String) throws -> Bool {
        var keys = try SessionKeys(state, new: false)
        while true {
            let session = try RouterSession(
                enrolment, at: address, keys: keys, serving: serving, coalesce: coalesce, logger: logger
            ) { [self] in try learn($0, from: address) }
            let ending = try session.run(
                until: { [self] in
                    lastTurn.withLock { $0 = .now }
                    return isStopped.withLock { $0 }
                }, isRemoved: { [self] in isRemoved(address) }, grace: { [self] in grace.withLock { $0 } })
            switch ending {
            case .over: return false
            case .removed: return true
            case .otherKeys: keys = try keys.others()
            }
        }
    }
}
