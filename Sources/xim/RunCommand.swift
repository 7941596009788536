import ArgumentParser
import Glibc
import Logging
import Threads
import ZeroMQ

/// Dials out to the router and stays there.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Connects to the router and keeps the lease; runs until SIGTERM, or until the agent is revoked.")

    func run() throws {
        let signals = Signals.block([SIGTERM, SIGINT])
        let state = StateDirectory()
        guard let enrolment = try state.enrolment() else {
            throw AgentProblem("not enrolled: run `xerotier-xim-agent enroll --join-key ...` first")
        }
        let logger = Logger(label: "xim") { StreamLogHandler.standardError(label: $0) }
        let session = try RouterSession(enrolment, keys: try state.curveKeys(), logger: logger)
        let stopped = Lock(false)
        startThread("signals") {
            _ = signals.wait()
            stopped.withLock { $0 = true }
        }
        try session.run { stopped.withLock { $0 } }
    }
}
