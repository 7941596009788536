import Agents
import Foundation
import Logging
import Mesh
import Routing
import Server
import Threads
import ZeroMQ

/// The router: agents on one socket, gateways on another, and the requests that go between them. All of it belongs to the thread that runs it.
final class Broker {
    final class Session {
        let name: AgentName
        let agentID: String
        let accelerators: [Accelerator]
        /// What the agent said that it can have at a time.
        let places: Int
        /// The same, as its owner lowered it.
        var capacity: Int
        var lease: Lease
        /// Of the next frame to it that is about no request.
        var sequence = 0
        /// The agent said that it drains.
        var isLeaving = false
        /// What the agent was told of its standing, so that it is told once.
        var isDraining = false
        var rotation: [UInt8]?

        init(_ hello: Hello, as name: AgentName, lease: Lease) {
            (self.name, self.lease) = (name, lease)
            (agentID, accelerators) = (hello.agentID, hello.accelerators)
            (places, capacity) = (hello.maxConcurrent, hello.maxConcurrent)
        }
    }

    let directory: AgentDirectory
    let timeScale: Double
    /// Where requests of its gateways come in.
    let region: String
    /// Where agents reach all routers.
    let routerAddresses: [String]
    let decisions: DecisionLog
    let metrics: Metrics
    let logger: Logger
    private let agents: ZeroMQSocket
    private let agentMonitor: ZeroMQMonitor
    let gateways: GatewayPort
    private let agentDescriptor: Int32
    private let monitorDescriptor: Int32
    /// Something may have come from agents that `agentDescriptor` does not tell.
    private var mayHaveInput = true

    /// By worker id.
    var sessions: [String: Session] = [:]
    var workers = WorkerTable()
    var requests: [String: MeshRequest] = [:]
    /// Ids of requests with something to do at a certain time.
    var timed: Set<String> = []
    var pools: [PoolName: Pool] = [:]
    var index = PrefixIndex(start: Broker.now)
    var chooser: Chooser
    /// The chooser as the router's file says it now, until it is taken.
    let changed = Lock<Chooser?>(nil)
    var generator: SplitMix64
    var isDraining = false
    /// Workers that said they are busy, and until when they get nothing more.
    var busy: [String: Instant] = [:]
    private var nextLook: Instant = 0
    /// Until then a connection that was lost may be an agent's.
    private var searchEnd: Instant = 0
    private var nextRequestLook: Instant = 0
    /// Agents heard of since the directory was told.
    var heard: [String: AgentReport?] = [:]
    var left: Set<String> = []
    let counts = Lock((sessions: 0, requests: 0, waiting: 0))

    private static let longestPart = 32 << 20
    /// Messages of agents before gateways have their turn.
    private static let turn = 256
    private static let searchTime = 1.0
    /// How long running requests may go on after SIGTERM.
    private static let drainTime = 30.0

    /// - Parameters:
    ///   - address: for agents, such as `tcp://*:5555`.
    ///   - gatewayPath: such as `/run/xerotier/mesh-0.sock`.
    ///   - routerAddresses: where agents reach this one and all others.
    ///   - region: of this deployment.
    ///   - seed: of the choices; nil = another one each time.
    init(
        context: ZeroMQContext, keys: CurveKeys, address: String, gatewayPath: String, routerAddresses: [String],
        directory: AgentDirectory, region: String, chooser: Chooser, timeScale: Double,
        seed: UInt64?, decisions: DecisionLog, metrics: Metrics, logger: Logger
    ) throws {
        let heartbeat = ZeroMQOption.heartbeat(milliseconds: 2_000, timeout: 6_000)
        agents = try ZeroMQSocket(
            context, .router,
            ZeroMQOption.curveServer(keys, domain: "agents") + heartbeat + [
                .sendHighWaterMark(10_000), .receiveHighWaterMark(10_000), .sendBuffer(4 << 20), .receiveBuffer(4 << 20),
                .longestPart(Self.longestPart), .mandatory, .handover, .linger(milliseconds: 1_000),
            ])
        agentMonitor = try ZeroMQMonitor(of: agents, in: context, name: "agents")
        try agents.bind(address)
        (agentDescriptor, monitorDescriptor) = (try agents.descriptor, try agentMonitor.socket.descriptor)
        gateways = try GatewayPort(at: gatewayPath, others: [agentDescriptor, monitorDescriptor])
        self.directory = directory
        self.timeScale = timeScale
        self.region = region
        self.routerAddresses = routerAddresses
        self.chooser = chooser
        generator = SplitMix64(seed: seed ?? .random(in: 0...UInt64.max))
        self.decisions = decisions
        self.metrics = metrics
        self.logger = logger
        metrics.gauge("mesh_sessions") { [counts] in Double(counts.withLock { $0.sessions }) }
        metrics.gauge("router_requests") { [counts] in Double(counts.withLock { $0.requests }) }
        metrics.gauge("router_queue_depth") { [counts] in Double(counts.withLock { $0.waiting }) }
        logger.notice("listening", metadata: ["address": "\(address)"])
    }

    /// Serves until `isStopped`, and then until the last request has ended; all agents are told at the end.
    func run(until isStopped: () -> Bool) throws {
        var drainEnd = Instant.infinity
        // libzmq tells only those of news who have found none.
        _ = try hasLostConnection(agentMonitor)
        while Self.now < drainEnd && !(isDraining && requests.isEmpty && !gateways.hasOutput) {
            if isStopped() && !isDraining {
                drainEnd = Self.now + Self.drainTime * timeScale
                isDraining = true
                logger.notice("draining", metadata: ["requests": "\(requests.count)"])
            }
            if isDraining { gateways.drain() }
            gateways.flush()
            if mayHaveInput { mayHaveInput = try agents.hasInput }
            let others = try gateways.receive(atMost: mayHaveInput ? 0 : timed.isEmpty ? 200 : 10, takeFromGateway)
            if mayHaveInput || others.contains(agentDescriptor) { try receiveFromAgents() }
            if others.contains(monitorDescriptor), try hasLostConnection(agentMonitor) { searchEnd = Self.now + Self.searchTime }
            try look(at: Self.now)
        }
        // Of what nobody has seen the beginning, another router may try.
        for request in Array(requests.values) { try fail(request, request.hasBegun ? "stream_interrupted" : "no_worker_available") }
        gateways.flush()
        for worker in sessions.keys { try say(.bye(Bye(reason: .shutdown)), to: worker) }
    }

    private func receiveFromAgents() throws {
        mayHaveInput = false
        for _ in 0..<Self.turn {
            guard let parts = try agents.receive() else { return }
            try takeFromAgent(parts)
        }
        mayHaveInput = true
    }

    private func takeFromAgent(_ parts: [ZeroMQPart]) throws {
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
        guard let session = sessions[name.workerID], session.name == name else { return }
        let now = Self.now
        session.lease.heard(at: now)
        let agent = session.agentID
        if heard[agent] == nil { heard[agent] = .some(nil) }
        workers.change(name.workerID) {
            $0.leaseUntil = session.lease.end
            $0.isSuspect = false
        }
        switch message.frame {
        case .heartbeat(let heartbeat): try take(heartbeat, of: name.workerID, session, at: now)
        case .accept, .reject, .chunk, .done, .error: try take(message, parts[1...], from: name.workerID, at: now)
        case .kvEvent(let event):
            if let slot = workers[name.workerID]?.slot {
                index.apply(sequence: UInt64(event.sequence), removed: event.removed, isCleared: event.isCleared, at: slot)
            }
        case .drain:
            session.isLeaving = true
            workers.change(name.workerID) { $0.state = .draining }
        case .curveRotateAck(let answer):
            let isNew = directory.rotate(agent, to: answer.newPublicKey, signature: answer.signature)
            metrics.count("mesh_rotations_total", #"result="\#(isNew ? "done" : "refused")""#)
        case .bye:
            heard[agent] = nil
            left.insert(agent)
            try forget(name.workerID, because: "it said goodbye")
        default: break
        }
    }

    private func takeFromGateway(_ event: GatewayPort.Event, _ gateway: GatewayConnection) throws {
        guard case .message(let message) = event else {
            if let id = gateway.requestID { try end(id, Cancel(reason: .client)) }
            return
        }
        switch message.frame {
        case .ping: gateways.send(message, to: gateway)
        case .route(let asked): try route(message, asked, from: gateway, at: Self.now)
        case .extend(let seen):
            if let slot = workers[seen.workerID]?.slot { index.insert(seen.prefix, at: slot, at: Self.now) }
        case .explain(let asked): explain(message, asked, to: gateway, at: Self.now)
        case .credit(let credit): try pass(credit, to: message.id)
        case .cancel(let cancel):
            try end(message.id, cancel)
            gateways.end(gateway)
        default: break
        }
    }

    // MARK: - Sending

    func say(_ frame: Frame, to worker: String) throws {
        guard let session = sessions[worker] else { return }
        defer { session.sequence += 1 }
        try tell(session.name, frame, sequence: session.sequence)
    }

    /// A peer that is gone, or that does not read, is not waited for: its lease runs out.
    private func tell(_ name: AgentName, _ frame: Frame, sequence: Int) throws {
        if try send(Message(sequence: sequence, time: Self.wallClock, frame), to: name) != .sent { metrics.count("mesh_unsent_total") }
    }

    func send(_ message: Message, to name: AgentName) throws -> ZeroMQSocket.SendOutcome {
        mayHaveInput = true
        return try agents.send([ZeroMQPart(name.bytes)] + message.parts)
    }

    // MARK: - Who is gone

    /// The connection does not say whose it was, and the socket hears of its end a little later: each agent is asked for a while whether it can be reached.
    private func lookForLostAgents() throws {
        for (worker, session) in sessions {
            let ack = Message(sequence: session.sequence, time: Self.wallClock, .leaseAck(leaseAck))
            session.sequence += 1
            if try send(ack, to: session.name) == .noPeer { try forget(worker, because: "its connection is lost") }
        }
    }

    private func hasLostConnection(_ monitor: ZeroMQMonitor) throws -> Bool {
        var isLost = false
        while let event = try monitor.next() { if event.kind == .disconnected { isLost = true } }
        return isLost
    }

    private func look(at now: Instant) throws {
        if now >= nextRequestLook {
            nextRequestLook = now + 0.01
            try lookAtRequests(at: now)
        }
        guard now >= nextLook else { return }
        nextLook = now + 0.1
        if now < searchEnd { try lookForLostAgents() }
        if let other = changed.withLock({ $0.take() }) { chooser = other }
        let news = directory.exchange(heard: heard, left: left, present: Set(sessions.values.map(\.agentID)))
        (heard, left) = ([:], [])
        for standing in news.standings {
            take(standing)
            try tell(standing)
        }
        for (worker, session) in sessions {
            if news.revoked.contains(session.agentID) {
                try say(.bye(Bye(reason: .revoked)), to: worker)
                try forget(worker, because: "it was revoked")
                workers.remove(worker)
                continue
            }
            switch session.lease.state(at: now) {
            case .live: break
            case .suspect: workers.change(worker) { $0.isSuspect = true }
            case .disconnected, .dead: try forget(worker, because: "it is silent")
            }
        }
        counts.withLock { $0 = (sessions.count, requests.count, pools.values.reduce(0) { $0 + $1.queue.count }) }
    }

    /// What a standing asks of its agent, once.
    private func tell(_ standing: AgentStanding) throws {
        let worker = standing.workerID
        guard let session = sessions[worker] else { return }
        if let rotation = standing.rotation, rotation.nonce != session.rotation {
            session.rotation = rotation.nonce
            try say(.curveRotate(CurveRotate(reason: rotation.reason, nonce: rotation.nonce)), to: worker)
        }
        switch standing.state {
        case .active, .suspended: session.isDraining = false
        case .draining,
            .removed where standing.drainSeconds > 0 && !running(on: worker).isEmpty:
            guard !session.isDraining else { return }
            session.isDraining = true
            try say(.drain(Drain(deadlineSeconds: Int(standing.drainSeconds.rounded(.up)))), to: worker)
        case .removed:
            try say(.bye(Bye(reason: .revoked)), to: worker)
            try forget(worker, because: "it was removed")
            workers.remove(worker)
        case .revoked: break
        }
    }

    var leaseAck: LeaseAck {
        LeaseAck(leaseUntil: Self.wallClock + Int(Self.leaseSeconds * timeScale * 1_000), resendManifest: false, resultsStored: [])
    }

    static let leaseSeconds = 30.0
    static var now: Instant { (ContinuousClock.now - start) / .seconds(1) }
    private static let start = ContinuousClock.now
    /// Milliseconds since 1970.
    static var wallClock: Int { Int(Date().timeIntervalSince1970 * 1_000) }
}
