import ArgumentParser
import Foundation
import Glibc
import Logging
import Threads
import ZeroMQ

/// Dials out to the routers and serves the models of the engine beside it.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Connects to the routers and serves the models of an engine; runs until SIGTERM, or until the agent is revoked.")

    @Option(help: "The engine: any OpenAI-compatible server, such as http://127.0.0.1:8000.") var engineURL: String?
    @Option(help: "The engine's key.") var engineAPIKey: String?

    /// Requests at a time where neither the agent's enrolment nor its engine says how many.
    private static let usualConcurrency = 32

    func run() throws {
        let signals = Signals.block([SIGTERM, SIGINT])
        signal(SIGPIPE, SIG_IGN)
        let environment = ProcessInfo.processInfo.environment
        let state = StateDirectory()
        guard let enrolment = try state.enrolment() else {
            throw AgentProblem("not enrolled: run `xerotier-xim-agent enroll --join-key ...` first")
        }
        guard let url = engineURL ?? environment["XEROTIER_AGENT_ENGINE_URL"] else {
            throw ValidationError("--engine-url is missing: the OpenAI-compatible server whose models this agent serves")
        }
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
            throw ValidationError("--engine-url: must be http:// or https://")
        }
        guard !enrolment.routerAddresses.isEmpty else { throw AgentProblem("the router has no address; enroll again") }
        let grace = try environment["XEROTIER_AGENT_SHUTDOWN_GRACE_SECONDS"].map { text in
            guard let seconds = Int(text), (0...3_600).contains(seconds) else {
                throw ValidationError("XEROTIER_AGENT_SHUTDOWN_GRACE_SECONDS: 0 to 3600")
            }
            return Duration.seconds(seconds)
        }
        let logger = Logger(label: "xim") { StreamLogHandler.standardError(label: $0) }
        let most = enrolment.maxConcurrent > 0 ? enrolment.maxConcurrent : Self.usualConcurrency
        let engine = ServedEngine(
            url: url, apiKey: engineAPIKey ?? environment["XEROTIER_AGENT_ENGINE_API_KEY"], most: most, logger: logger)
        let serving = Serving(engine, most: most)
        let stopped = Lock(false)
        startThread("signals") {
            _ = signals.wait()
            stopped.withLock { $0 = true }
        }
        try Sessions(enrolment, keys: try state.curveKeys(), serving: serving, logger: logger).run(
            until: { stopped.withLock { $0 } }, grace: grace ?? .seconds(300))
        engine.stop()
    }
}

/// The sessions with all routers, each on a thread of its own. One that ends with a fault ends all.
private struct Sessions {
    private let enrolment: Enrolment
    private let keys: CurveKeys
    private let serving: Serving
    private let logger: Logger

    init(_ enrolment: Enrolment, keys: CurveKeys, serving: Serving, logger: Logger) {
        self.enrolment = enrolment
        self.keys = keys
        self.serving = serving
        self.logger = logger
    }

    func run(until isStopped: @escaping @Sendable () -> Bool, grace: Duration) throws {
        let problem = Monitor<(left: Int, problem: AgentProblem?)>((enrolment.routerAddresses.count, nil))
        for address in enrolment.routerAddresses {
            let (enrolment, keys, serving, logger) = (enrolment, keys, serving, logger)
            startThread("session") {
                var ended: AgentProblem?
                do {
                    try RouterSession(enrolment, at: address, keys: keys, serving: serving, logger: logger).run(
                        until: isStopped, grace: grace)
                } catch { ended = error as? AgentProblem ?? AgentProblem("the session with the router failed: \(error)") }
                problem.change { state in
                    state.left -= 1
                    state.problem = state.problem ?? ended
                }
            }
        }
        try problem.wait(while: { $0.left > 0 && $0.problem == nil }) { if let problem = $0.problem { throw problem } }
    }
}
