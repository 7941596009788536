import Agents
import Logging
import OpenAI
import Tenancy
import Threads
import ZeroMQ

/// What the mesh asks of the database and tells it: who may come in, who was heard of, and who was revoked.
///
/// A thread of its own writes and reads, each second, so that a slow database holds no message up.
final class AgentDirectory: Sendable {
    private struct State {
        var heard: Set<String> = []
        var present: Set<String> = []
        var revoked: Set<String> = []
        var isStopped = false
    }

    private let database: SystemDatabase
    private let logger: Logger
    private let state = Monitor(State())

    init(database: SystemDatabase, logger: Logger) {
        self.database = database
        self.logger = logger
        startThread("directory") { [self] in while self.round() {} }
    }

    /// The worker id of the agent with this key; nil where there is none, or while the database cannot be asked: it tries again.
    func workerID(of key: CurvePublicKey) -> String? {
        do { return try database.workerID(ofCurveKey: key.text) } catch {
            logger.error("an agent could not be looked up", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// - Parameters:
    ///   - heard: agents that gave a sign of life.
    ///   - present: all that have a session.
    /// - Returns: those of the present that have been revoked.
    func exchange(heard: Set<String>, present: Set<String>) -> Set<String> {
        state.withLock { state in
            state.heard.formUnion(heard)
            state.present = present
            defer { state.revoked = [] }
            return state.revoked
        }
    }

    func stop() { state.change { $0.isStopped = true } }

    private func round() -> Bool {
        let (heard, present, isStopped) = state.wait(atMost: 0.5, while: { !$0.isStopped }) { state in
            defer { state.heard = [] }
            return (state.heard, state.present, state.isStopped)
        }
        guard !isStopped else { return false }
        do {
            if !heard.isEmpty { try database.noteHeartbeats(of: Array(heard)) }
            let revoked = present.isEmpty ? [] : try database.revokedAgents(among: Array(present))
            if !revoked.isEmpty { state.withLock { $0.revoked.formUnion(revoked) } }
        } catch {
            logger.error("the database did not answer", metadata: ["error": "\(error)"])
            state.withLock { $0.heard.formUnion(heard) }
        }
        return true
    }
}
