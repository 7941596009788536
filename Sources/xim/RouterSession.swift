import Crypto
import Foundation
import Logging
import Mesh
import Threads
import ZeroMQ

/// An agent's connection to one router. All of it belongs to the thread that runs it.
final class RouterSession {
    private let enrolment: KeptEnrolment
    private let learn: ([String]) throws -> Void
    private let serving: Serving
    private let coalesce: Duration
    private let outbox = SessionOutbox()
    private let credits = SessionCredits()
    private let threads = IdleThreads("request", stackSize: 512 << 10)
    private struct Running {
        let request: ServedRequest
        /// Of its next frame.
        var sequence = 0
        /// When the router is told that this agent has it, unless it is told by its first frame.
        var acceptAt: ContinuousClock.Instant?
    }

    /// What this router has dispatched, by key.
    private var running: [String: Running] = [:]
    /// Those that the router was not told of, oldest first.
    private var unaccepted: [String] = []
    private static let acceptPause = Duration.milliseconds(20)
    private let socket: ZeroMQSocket
    private let monitor: ZeroMQMonitor
    private let logger: Logger
    private var sequence = 0
    /// What the router said last.
    private var heartbeat = Duration.seconds(10)
    private var lease = Duration.seconds(30)
    private var toldModels: [ModelReport] = []
    private var toldGauges: EngineGauges?
    /// Starts of the engine that the router knows of, and the number of the last `kv_event`.
    private var toldStarts = 0
    private var kvSequence = 0
    private var isConnected = false
    private var isWelcome = false {
        didSet { if isWelcome != oldValue { serving.metrics.connected(isWelcome) } }
    }
    /// Seconds that what runs may go on, where the router wants this agent to end.
    private var drain: Int?
    private let keys: SessionKeys
    private var lastAck = ContinuousClock.now
    private var nextHeartbeat = ContinuousClock.now

    /// - Parameters:
    ///   - address: of the router.
    ///   - keys: the agent's own, which it enrolled with.
    ///   - coalesce: how long chunks are gathered before they go out in one frame.
    ///   - learn: is told where all routers are, whenever this one says so.
    init(
        _ enrolment: KeptEnrolment, at address: String, keys: SessionKeys, serving: Serving, coalesce: Duration = .milliseconds(20),
        logger: Logger, learn: @escaping ([String]) throws -> Void
    ) throws {
        self.enrolment = enrolment
        self.learn = learn
        self.serving = serving
        self.keys = keys
        self.coalesce = coalesce
        self.logger = logger
        let context = try ZeroMQContext()
        let name = AgentName(workerID: enrolment.now.workerID, nonce: Random.bytes(16))
        let options: [ZeroMQOption] =
            ZeroMQOption.curveClient(keys.curve, server: try CurvePublicKey(enrolment.now.routerKey))
            + ZeroMQOption.heartbeat(milliseconds: 2_000, timeout: 6_000) + ZeroMQOption.reconnect(milliseconds: 100, longest: 10_000) + [
                .identity(name.bytes), .sendHighWaterMark(10_000), .receiveHighWaterMark(10_000), .immediate, .longestPart(32 << 20),
                .connecting(milliseconds: 5_000), .handshake(milliseconds: 5_000), .linger(milliseconds: 1_000),
            ]
        socket = try ZeroMQSocket(context, .dealer, options)
        monitor = try ZeroMQMonitor(of: socket, in: context, name: "router")
        try socket.connect(address)
        serving.engine.onChange(outbox.bell)
    }

    enum Ending {
        case over
        /// To be begun again, with the agent's other CURVE keys.
        case otherKeys
        /// The router is none any more.
        case removed
    }

    /// Stays until `isStopped` or until the router asks, lets what runs end for `grace` then, and says goodbye.
    /// - Parameter isRemoved: the router is none any more; others may have work for the agent.
    /// - Throws: `AgentProblem` when the router wants this agent no more.
    func run(until isStopped: () -> Bool, isRemoved: () -> Bool, grace: () -> Duration) throws -> Ending {
        var drainEnd: ContinuousClock.Instant?
        var isLeaving = false
        defer {
            cancelAll()
            isWelcome = false
        }
        while drainEnd.map({ ContinuousClock.now < $0 && !running.isEmpty }) ?? true {
            if drainEnd == nil && (isStopped() || drain != nil || isRemoved()) {
                let grace = drain.map { Duration.seconds($0) } ?? grace()
                isLeaving = !isStopped() && drain == nil
                if !isLeaving { serving.drain() }
                drainEnd = .now + grace
                if isWelcome && drain == nil { try say(.drain(Drain(deadlineSeconds: Int(grace / .seconds(1))))) }
            }
            _ = try ZeroMQPoll.wait(
                for: [.socket(socket), .socket(monitor.socket), .descriptor(outbox.bell.descriptor)],
                atMost: unaccepted.isEmpty ? .milliseconds(100) : Self.acceptPause)
            while let event = try monitor.next() {
                switch event.kind {
                case .admitted:
                    isConnected = true
                    try hello()
                case .disconnected:
                    (isConnected, isWelcome) = (false, false)
                    // The router has given them to others, or ended them.
                    cancelAll()
                    logger.warning("the connection to the router is lost")
                case .refused, .handshakeFailed:
                    logger.warning("the router does not let this agent in")
                    if keys.mayBeOthers { return .otherKeys }
                default: break
                }
            }
            while let parts = try socket.receive() { try take(parts) }
            try sendAnswers()
            try accept()
            if keys.areOld && running.isEmpty && isWelcome && drainEnd == nil { return .otherKeys }
            let now = ContinuousClock.now
            if isConnected && now - lastAck > lease {
                logger.warning("the router is silent")
                isWelcome = false
                lastAck = now
                cancelAll()
                try hello()
            }
            if isWelcome && now >= nextHeartbeat {
                nextHeartbeat = now + heartbeat
                try sayHeartbeat()
            }
        }
        // A goodbye is to all routers.
        if isLeaving { return .removed }
        try say(.bye(Bye(reason: .shutdown)))
        return .over
    }

    private func sayHeartbeat() throws {
        toldGauges = serving.engine.gauges
        try say(.heartbeat(beat))
    }

    private var beat: Heartbeat {
        Heartbeat(
            inFlight: serving.running, waiting: toldGauges?.waiting, running: toldGauges?.running ?? serving.running,
            kvUsed: toldGauges?.kvUsed, models: serving.engine.models, errorsInMinute: 0,
            inFlightIDs: running.values.map(\.request.id))
    }

    /// Nothing is under way at a hello: what was, ended with the connection.
    private func hello() throws {
        let now = enrolment.now
        sequence = 0
        (toldModels, toldStarts) = (serving.engine.models, serving.engine.starts)
        try say(
            .hello(
                Hello(
                    agentID: now.agentID, workerID: now.workerID, version: XimAgent.configuration.version, role: .inference,
                    token: now.token, accelerators: serving.accelerators, maxConcurrent: serving.most, models: toldModels,
                    inFlight: [], kvSequence: kvSequence)))
    }

    /// Frames of answers that are ready, and the end of those that have ended.
    private func sendAnswers() throws {
        for entry in outbox.take() {
            if let frame = entry.frame {
                try send(frame, of: entry.key)
            } else {
                running[entry.key] = nil
                credits.end(entry.key)
            }
        }
        guard isWelcome else { return }
        let engine = serving.engine
        if engine.starts != toldStarts {
            toldStarts = engine.starts
            kvSequence += 1
            // What the engine had in its cache is gone.
            try say(.kvEvent(KVEvent(sequence: kvSequence, removed: [], isCleared: true)))
        }
        let hasOtherGauges = engine.gauges.map { $0.differs(from: toldGauges) } ?? false
        if hasOtherGauges || engine.models != toldModels {
            toldModels = engine.models
            try sayHeartbeat()
        }
    }

    /// A frame of a request that the router knows.
    private func send(_ frame: Frame, of key: String) throws {
        guard let (request, sequence) = running[key].map({ ($0.request, $0.sequence) }) else { return }
        running[key]!.sequence += 1
        running[key]!.acceptAt = nil
        guard isConnected else { return }
        if try socket.send(Message(id: request.id, attempt: request.attempt, sequence: sequence, time: Self.time, frame).parts) != .sent {
            logger.warning("a frame could not be sent", metadata: ["request": "\(request.id)"])
        }
    }

    /// What is not answered yet: the first frame of an answer that comes at once says all that `accept` would.
    private func accept() throws {
        let now = ContinuousClock.now
        while let key = unaccepted.first {
            if let due = running[key]?.acceptAt {
                if due > now { return }
                try send(.accept(Accept(queuePosition: 0)), of: key)
            }
            unaccepted.removeFirst()
        }
    }

    private func cancelAll() { running.values.forEach { $0.request.cancel() } }

    private func begin(_ message: Message, _ dispatch: Dispatch) throws {
        func refuse(_ code: Reject.Code, _ fault: Fault) throws {
            let reject = Frame.reject(Reject(code: code, fault: fault, retryMilliseconds: 50))
            _ = try socket.send(Message(id: message.id, attempt: message.attempt, sequence: 0, time: Self.time, reject).parts)
        }
        guard case .inference(_, let model, _) = dispatch.work else { return try refuse(.unsupported, .agent) }
        let isReady = serving.engine.models.contains { $0.modelID == model.id && $0.version == model.version && $0.state == .ready }
        guard isReady else { return try refuse(.notLoaded, .agent) }
        switch serving.take() {
        case .busy: return try refuse(.busy, .agent)
        case .draining: return try refuse(.draining, .agent)
        case .taken: break
        }
        let request = ServedRequest(message, dispatch, serving: serving, outbox: outbox, credits: credits, coalesce: coalesce)
        credits.begin(request.key, StreamWindow(credits: dispatch.credit))
        running[request.key] = Running(request: request, acceptAt: .now + Self.acceptPause)
        unaccepted.append(request.key)
        threads.run { request.run() }
    }

    private static var time: Int { Int(Date().timeIntervalSince1970 * 1_000) }

    private func take(_ parts: [ZeroMQPart]) throws {
        let message: Message?
        do throws(FrameError) { message = try Message.read(parts[...], from: .router) } catch {
            return logger.warning("a message of the router cannot be read", metadata: ["error": "\(error)"])
        }
        guard let message else { return }
        let key = "\(message.id)/\(message.attempt)"
        switch message.frame {
        case .dispatch(let dispatch): try begin(message, dispatch)
        case .credit(let credit):
            credits.returned(credit, to: key)
            running[key]?.request.wake()
        case .cancel: running[key]?.request.cancel()
        case .welcome(let welcome):
            heartbeat = .milliseconds(welcome.heartbeatMilliseconds)
            lease = .seconds(welcome.leaseSeconds)
            (isWelcome, lastAck, nextHeartbeat) = (true, .now, .now)
            for entry in running.values where welcome.cancel.contains(entry.request.id) { entry.request.cancel() }
            try keys.areGood()
            try learn(welcome.routerAddresses)
            logger.notice("connected", metadata: ["worker": "\(enrolment.now.workerID)"])
        case .leaseAck:
            lastAck = .now
            serving.metrics.leaseRenewed()
        case .curveRotate(let wanted):
            logger.notice("the router wants a new key", metadata: ["reason": "\(wanted.reason)"])
            try say(.curveRotateAck(try keys.rotate(wanted)))
        case .drain(let wanted):
            logger.notice("the router wants this agent to end", metadata: ["seconds": "\(wanted.deadlineSeconds)"])
            drain = wanted.deadlineSeconds
        case .bye(let bye):
            isWelcome = false
            switch bye.reason {
            case .shutdown: logger.notice("the router ends; waiting for another")
            case .revoked: throw AgentProblem("this agent was revoked", isRevoked: true)
            case .replaced: throw AgentProblem("another process runs as this agent")
            case .version: throw AgentProblem("the router speaks another version; update this agent")
            }
        default: break
        }
    }

    private func say(_ frame: Frame) throws {
        let message = Message(sequence: sequence, time: Self.time, frame)
        if try socket.send(message.parts) == .sent { sequence += 1 }
    }
}
