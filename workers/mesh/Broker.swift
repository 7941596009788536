import Agents
import Crypto
import Foundation
import Logging
import Mesh
import OpenAI
import Server
import Threads
import ZeroMQ

/// The router's socket and the sessions on it. All of it belongs to the thread that runs it.
final class Broker {
    private struct Session {
        let name: AgentName
        let agentID: String
        var lease: Lease
        var sequence = 0
        /// What the agent was told of its standing, so that it is told once.
        var isDraining = false
        var rotation: [UInt8]?
    }

    private let router: ZeroMQSocket
    private let directory: AgentDirectory
    private let limits: Lease.Limits
    private let timeScale: Double
    private let metrics: Metrics
    private let logger: Logger
    /// By worker id.
    private var sessions: [String: Session] = [:]
    /// Agents heard of since the directory was told.
    private var heard: [String: AgentReport?] = [:]
    private var left: Set<String> = []
    private let sessionCount = Lock(0)

    static let leaseSeconds = 30.0
    private static let heartbeatMilliseconds = 10_000.0
    private static let creditWindow = 64
    private static let longestPart = 32 << 20

    /// - Parameter address: such as `tcp://*:5555`.
    init(
        context: ZeroMQContext, keys: CurveKeys, address: String, directory: AgentDirectory, timeScale: Double, metrics: Metrics,
        logger: Logger
    ) throws {
        let options: [ZeroMQOption] =
            ZeroMQOption.curveServer(keys, domain: "agents") + ZeroMQOption.heartbeat(milliseconds: 2_000, timeout: 6_000) + [
                .sendHighWaterMark(10_000), .receiveHighWaterMark(10_000), .sendBuffer(4 << 20), .receiveBuffer(4 << 20),
                .longestPart(Self.longestPart), .mandatory, .handover, .linger(milliseconds: 1_000),
            ]
        router = try ZeroMQSocket(context, .router, options)
        try router.bind(address)
        self.directory = directory
        self.timeScale = timeScale
        limits = Lease.Limits(timeScale: timeScale)
        self.metrics = metrics
        self.logger = logger
        metrics.gauge("mesh_sessions") { [sessionCount] in Double(sessionCount.withLock { $0 }) }
        logger.notice("listening", metadata: ["address": "\(address)"])
    }

    /// Serves until `isStopped`; then all agents are told.
    func run(until isStopped: () -> Bool) throws {
        while !isStopped() {
            if try ZeroMQPoll.wait(for: [.socket(router)], atMost: .milliseconds(200))[0] {
                // A peer that floods holds the leases up no longer than this.
                for _ in 0..<1_000 {
                    guard let parts = try router.receive() else { break }
                    try take(parts)
                }
            }
            try look(at: Self.now)
        }
        for worker in sessions.keys { try say(.bye(Bye(reason: .shutdown)), to: worker) }
    }

    private func take(_ parts: [ZeroMQPart]) throws {
        // Who sends is what the gate says of its key, not what it calls itself.
        guard parts.count > 1, let name = AgentName(parts[0].bytes), parts[1].userID == name.workerID else {
            metrics.count("mesh_refused_total", #"reason="name""#)
            return
        }
        let message: Message?
        do throws(FrameError) { message = try Message.read(parts[1...], from: .agent) } catch {
            metrics.count("mesh_bad_frames_total")
            if case .version = error { try tell(name, .bye(Bye(reason: .version)), sequence: 0) }
            return
        }
        guard let message else { return }
        if case .hello(let hello) = message.frame { return try begin(hello, as: name) }
        // Before its hello, or after another start of it took its place, an agent has nothing to say.
        guard var session = sessions[name.workerID], session.name == name else { return }
        session.lease.heard(at: Self.now)
        sessions[name.workerID] = session
        if heard[session.agentID] == nil { heard[session.agentID] = .some(nil) }
        switch message.frame {
        case .heartbeat(let heartbeat):
            heard[session.agentID] = AgentReport(
                inFlight: heartbeat.inFlight,
                models: heartbeat.models.map { .init(modelID: $0.modelID, version: $0.version, state: $0.state.rawValue) })
            let end = Int((Self.wallClock + Self.leaseSeconds * timeScale) * 1_000)
            try say(.leaseAck(LeaseAck(leaseUntil: end, resendManifest: false, resultsStored: [])), to: name.workerID)
        case .curveRotateAck(let answer):
            let isNew = directory.rotate(session.agentID, to: answer.newPublicKey, signature: answer.signature)
            metrics.count("mesh_rotations_total", #"result="\#(isNew ? "done" : "refused")""#)
        case .bye:
            heard[session.agentID] = nil
            left.insert(session.agentID)
            forget(name.workerID, because: "it said goodbye")
        default: break
        }
    }

    private func begin(_ hello: Hello, as name: AgentName) throws {
        guard hello.workerID == name.workerID, name.workerID.hasSuffix(":\(hello.agentID)") else {
            metrics.count("mesh_refused_total", #"reason="name""#)
            return
        }
        if let before = sessions[name.workerID], before.name != name {
            try say(.bye(Bye(reason: .replaced)), to: name.workerID)
        }
        sessions[name.workerID] = Session(name: name, agentID: hello.agentID, lease: Lease(limits, at: Self.now))
        heard[hello.agentID] = .some(nil)
        count()
        logger.notice("agent is there", metadata: ["worker": "\(name.workerID)", "version": "\(hello.version)"])
        let welcome = Welcome(
            session: "ses_" + Base64URL.encode(Random.bytes(12)), leaseSeconds: max(1, Int(Self.leaseSeconds * timeScale)),
            heartbeatMilliseconds: max(1, Int(Self.heartbeatMilliseconds * timeScale)), creditWindow: Self.creditWindow,
            cancel: hello.inFlight, assignments: [])
        try say(.welcome(welcome), to: name.workerID)
    }

    /// Ends the sessions of those that are silent or revoked, and tells the others how they stand.
    private func look(at now: Double) throws {
        let news = directory.exchange(heard: heard, left: left, present: Set(sessions.values.map(\.agentID)))
        (heard, left) = ([:], [])
        for standing in news.standings { try tell(standing) }
        for (worker, session) in sessions {
            if news.revoked.contains(session.agentID) {
                try say(.bye(Bye(reason: .revoked)), to: worker)
                forget(worker, because: "it was revoked")
            } else if [.disconnected, .dead].contains(session.lease.state(at: now)) {
                forget(worker, because: "it is silent")
            }
        }
    }

    /// What a standing asks of its agent, once.
    private func tell(_ standing: AgentStanding) throws {
        guard let session = sessions[standing.workerID] else { return }
        if let rotation = standing.rotation, rotation.nonce != session.rotation {
            sessions[standing.workerID]?.rotation = rotation.nonce
            try say(.curveRotate(CurveRotate(reason: rotation.reason, nonce: rotation.nonce)), to: standing.workerID)
        }
        switch standing.state {
        case .active, .suspended: sessions[standing.workerID]?.isDraining = false
        case .draining:
            guard !session.isDraining else { return }
            sessions[standing.workerID]?.isDraining = true
            try say(.drain(Drain(deadlineSeconds: Int(standing.drainSeconds.rounded(.up)))), to: standing.workerID)
        case .removed:
            try say(.bye(Bye(reason: .revoked)), to: standing.workerID)
            forget(standing.workerID, because: "it was removed")
        case .revoked: break
        }
    }

    private func forget(_ worker: String, because reason: String) {
        sessions[worker] = nil
        count()
        logger.notice("agent is gone", metadata: ["worker": "\(worker)", "reason": "\(reason)"])
    }

    private func count() { sessionCount.withLock { $0 = sessions.count } }

    private func say(_ frame: Frame, to worker: String) throws {
        guard let session = sessions[worker] else { return }
        sessions[worker]?.sequence += 1
        try tell(session.name, frame, sequence: session.sequence)
    }

    /// A peer that is gone, or that does not read, is not waited for: its lease runs out.
    private func tell(_ name: AgentName, _ frame: Frame, sequence: Int) throws {
        let message = Message(sequence: sequence, time: Int(Self.wallClock * 1_000), frame)
        if try router.send([ZeroMQPart(name.bytes)] + message.parts) != .sent { metrics.count("mesh_unsent_total") }
    }

    private static var now: Double { (ContinuousClock.now - start) / .seconds(1) }
    private static let start = ContinuousClock.now
    private static var wallClock: Double { Date().timeIntervalSince1970 }
}
