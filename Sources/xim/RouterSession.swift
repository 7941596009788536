import Crypto
import Foundation
import Logging
import Mesh
import ZeroMQ

/// An agent's connection to the router. All of it belongs to the thread that runs it.
final class RouterSession {
    private let enrolment: Enrolment
    private let socket: ZeroMQSocket
    private let monitor: ZeroMQMonitor
    private let logger: Logger
    private var sequence = 0
    /// What the router said last.
    private var heartbeat = Duration.seconds(10)
    private var lease = Duration.seconds(30)
    private var isConnected = false
    private var isWelcome = false
    private var lastAck = ContinuousClock.now
    private var nextHeartbeat = ContinuousClock.now

    /// - Parameter keys: the agent's own, which it enrolled with.
    init(_ enrolment: Enrolment, keys: CurveKeys, logger: Logger) throws {
        self.enrolment = enrolment
        self.logger = logger
        let context = try ZeroMQContext()
        let name = AgentName(workerID: enrolment.workerID, nonce: Random.bytes(16))
        let options: [ZeroMQOption] =
            ZeroMQOption.curveClient(keys, server: try CurvePublicKey(enrolment.routerKey))
            + ZeroMQOption.heartbeat(milliseconds: 2_000, timeout: 6_000) + ZeroMQOption.reconnect(milliseconds: 100, longest: 10_000) + [
                .identity(name.bytes), .sendHighWaterMark(10_000), .receiveHighWaterMark(10_000), .immediate, .longestPart(32 << 20),
                .handshake(milliseconds: 5_000), .linger(milliseconds: 1_000),
            ]
        socket = try ZeroMQSocket(context, .dealer, options)
        monitor = try ZeroMQMonitor(of: socket, in: context, name: "router")
        guard let address = enrolment.routerAddresses.first else { throw AgentProblem("the router has no address; enroll again") }
        try socket.connect(address)
    }

    /// Stays until `isStopped`, and says goodbye then.
    /// - Throws: `AgentProblem` when the router wants this agent no more.
    func run(until isStopped: () -> Bool) throws {
        while !isStopped() {
            _ = try ZeroMQPoll.wait(for: [.socket(socket), .socket(monitor.socket)], atMost: .milliseconds(100))
            while let event = try monitor.next() {
                switch event.kind {
                case .admitted:
                    isConnected = true
                    try hello()
                case .disconnected:
                    (isConnected, isWelcome) = (false, false)
                    logger.warning("the connection to the router is lost")
                case .refused, .handshakeFailed: logger.warning("the router does not let this agent in")
                default: break
                }
            }
            while let parts = try socket.receive() { try take(parts) }
            let now = ContinuousClock.now
            if isConnected && now - lastAck > lease {
                logger.warning("the router is silent")
                isWelcome = false
                lastAck = now
                try hello()
            }
            if isWelcome && now >= nextHeartbeat {
                nextHeartbeat = now + heartbeat
                try say(.heartbeat(Heartbeat(inFlight: 0, models: [], errorsInMinute: 0, inFlightIDs: [])))
            }
        }
        try say(.bye(Bye(reason: .shutdown)))
    }

    private func hello() throws {
        sequence = 0
        try say(
            .hello(
                Hello(
                    agentID: enrolment.agentID, workerID: enrolment.workerID, version: XimAgent.configuration.version, role: .inference,
                    token: enrolment.token, accelerators: [], maxConcurrent: enrolment.maxConcurrent, models: [], inFlight: [],
                    kvSequence: 0)))
    }

    private func take(_ parts: [ZeroMQPart]) throws {
        let message: Message?
        do throws(FrameError) { message = try Message.read(parts[...], from: .router) } catch {
            return logger.warning("a message of the router cannot be read", metadata: ["error": "\(error)"])
        }
        switch message?.frame {
        case .welcome(let welcome):
            heartbeat = .milliseconds(welcome.heartbeatMilliseconds)
            lease = .seconds(welcome.leaseSeconds)
            (isWelcome, lastAck, nextHeartbeat) = (true, .now, .now)
            logger.notice("connected", metadata: ["worker": "\(enrolment.workerID)"])
        case .leaseAck: lastAck = .now
        case .bye(let bye):
            isWelcome = false
            switch bye.reason {
            case .shutdown: logger.notice("the router ends; waiting for another")
            case .revoked: throw AgentProblem("this agent was revoked")
            case .replaced: throw AgentProblem("another process runs as this agent")
            case .version: throw AgentProblem("the router speaks another version; update this agent")
            }
        default: break
        }
    }

    private func say(_ frame: Frame) throws {
        let message = Message(sequence: sequence, time: Int(Date().timeIntervalSince1970 * 1_000), frame)
        if try socket.send(message.parts) == .sent { sequence += 1 }
    }
}
