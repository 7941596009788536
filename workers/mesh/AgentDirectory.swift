import Agents
import Logging
import OpenAI
import Tenancy
import Threads
import ZeroMQ

/// What the mesh asks of the database and tells it: who may come in and what for, who was heard of, and who was revoked.
///
/// A thread of its own writes and reads, twice a second, so that a slow database holds no message up.
final class AgentDirectory: Sendable {
    private struct State {
        /// Of those that were let in, by worker id.
        var standings: [String: AgentStanding] = [:]
        /// What they said of themselves, where they did.
        var heard: [String: AgentReport?] = [:]
        var left: Set<String> = []
        /// Agent ids of all that have a session.
        var present: Set<String> = []
        var news = News()
        var isStopped = false
    }

    /// What the database says of those that are present.
    struct News {
        /// Agent ids.
        var revoked: Set<String> = []
        var standings: [AgentStanding] = []
    }

    private let database: SystemDatabase
    private let logger: Logger
    private let state = Monitor(State())

    private let leaseSeconds: Double

    /// - Parameter leaseSeconds: after which an agent that is silent counts as gone.
    init(database: SystemDatabase, leaseSeconds: Double, logger: Logger) {
        self.database = database
        self.leaseSeconds = leaseSeconds
        self.logger = logger
        startThread("directory") { [self] in while self.round() {} }
    }

    /// The worker id of the agent with this key; nil where there is none, or while the database cannot be asked: it tries again.
    func workerID(of key: CurvePublicKey) -> String? {
        do {
            guard let standing = try database.agentStanding(ofCurveKey: key.text) else { return nil }
            state.withLock { $0.standings[standing.workerID] = standing }
            return standing.workerID
        } catch {
            logger.error("an agent could not be looked up", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// Of an agent that was let in.
    func standing(of worker: String) -> AgentStanding? { state.withLock { $0.standings[worker] } }

    /// - Parameters:
    ///   - heard: agents that gave a sign of life, and what they said of themselves, where they did.
    ///   - left: agents that said goodbye.
    ///   - present: all that have a session.
    func exchange(heard: [String: AgentReport?], left: Set<String>, present: Set<String>) -> News {
        state.withLock { state in
            for (agent, report) in heard { state.heard.updateValue(report ?? state.heard[agent].flatMap { $0 }, forKey: agent) }
            for agent in left { state.heard[agent] = nil }
            state.left = state.left.subtracting(heard.keys).union(left)
            state.present = present
            defer { state.news = News() }
            return state.news
        }
    }

    /// An agent's answer to `curve_rotate`. On the caller's thread: it is rare, and short.
    func rotate(_ agent: String, to key: String, signature: [UInt8]) -> Bool {
        do { return try database.rotateCurveKey(of: agent, to: key, signature: signature) } catch {
            logger.error("a rotation could not be written", metadata: ["agent": "\(agent)", "error": "\(error)"])
            return false
        }
    }

    func stop() { state.change { $0.isStopped = true } }

    private func round() -> Bool {
        let (heard, left, present, isStopped) = state.wait(atMost: 0.5, while: { !$0.isStopped }) { state in
            defer { (state.heard, state.left) = ([:], []) }
            return (state.heard, state.left, state.present, state.isStopped)
        }
        do {
            if !heard.isEmpty { try database.noteHeartbeats(of: heard, leaseSeconds: leaseSeconds) }
            if !left.isEmpty { try database.noteGoodbyes(of: Array(left)) }
            guard !isStopped else { return false }
            try database.noteSilence()
            guard !present.isEmpty else { return true }
            let standings = try database.agentStandings(of: Array(present))
            let revoked = present.subtracting(standings.filter { $0.state != .revoked }.map(\.agentID))
            state.withLock { state in
                state.news = News(revoked: revoked, standings: standings)
                for standing in standings { state.standings[standing.workerID] = standing }
                state.standings = state.standings.filter { !revoked.contains($0.value.agentID) }
            }
        } catch {
            logger.error("the database did not answer", metadata: ["error": "\(error)"])
            state.withLock { state in
                state.heard = heard.merging(state.heard) { $1 ?? $0 }
                state.left.formUnion(left.subtracting(state.heard.keys))
            }
        }
        return !isStopped
    }
}
