import Foundation
import Mesh
import MeshSamples
import ZeroMQ

/// One side of a connection, with its half of the frames.
struct Peer {
    private struct Kept: Decodable {
        let agent_id: String
        let worker_id: String
        let router_addrs: [String]
        let router_curve_public_key: String
        let token: String
    }

    private let socket: ZeroMQSocket
    /// What lets this peer take part: an agent's hello, a router's welcome.
    private let greeting: Frame
    private let frames: [Frame]
    private let isRouter: Bool
    private var generator: FuzzNumbers
    /// Agents that have come to this router.
    private var agents: [[UInt8]] = []
    /// Requests that this agent was given, with their attempts.
    private var requests: [(id: String, attempt: Int)] = [("req_1.1", 1)]
    private(set) var sent = 0
    private(set) var received = 0
    private(set) var greetings = 0

    init(agentOf home: String, seed: UInt64) throws {
        let folder = URL(fileURLWithPath: home).appending(path: ".config/xerotier")
        let kept = try JSONDecoder().decode(Kept.self, from: Data(contentsOf: folder.appending(path: "enrollment.json")))
        let secret = try String(contentsOf: folder.appending(path: "agent-curve-key.hex"), encoding: .utf8)
        generator = FuzzNumbers(seed: seed)
        isRouter = false
        let name = AgentName(workerID: kept.worker_id, nonce: (0..<16).map { UInt8($0) })
        socket = try ZeroMQSocket(
            ZeroMQContext(), .dealer,
            ZeroMQOption.curveClient(CurveKeys(secret: Self.bytes(secret)), server: CurvePublicKey(kept.router_curve_public_key))
                + ZeroMQOption.reconnect(milliseconds: 50, longest: 200) + [.identity(name.bytes), .linger(milliseconds: 0)])
        try socket.connect(kept.router_addrs[0])
        greeting = .hello(
            Hello(
                agentID: kept.agent_id, workerID: kept.worker_id, version: "1.0.0", role: .inference, token: kept.token, accelerators: [],
                maxConcurrent: 8, models: [ModelReport(modelID: "scripted-model", version: "latest", state: .ready)], inFlight: [],
                kvSequence: 0))
        // Goodbyes would leave nothing to be disturbed.
        frames = Sample.all.map(\.frame).filter { $0.kind.isSent(by: .agent) && $0.kind != .bye }
    }

    init(routerAt port: String, seed: UInt64) throws {
        generator = FuzzNumbers(seed: seed)
        isRouter = true
        let keys = try CurveKeys()
        let context = try ZeroMQContext()
        // Whoever comes is let in.
        _ = try ZeroMQGate(context) { _ in "agent" }
        socket = try ZeroMQSocket(
            context, .router, ZeroMQOption.curveServer(keys, domain: "agents") + [.mandatory, .handover, .linger(milliseconds: 0)])
        try socket.bind("tcp://127.0.0.1:\(port)")
        greeting = .welcome(
            Welcome(session: "ses_1", leaseSeconds: 30, heartbeatMilliseconds: 500, creditWindow: 64, cancel: [], assignments: []))
        frames = Sample.all.map(\.frame).filter {
            $0.kind.isSent(by: .router) && $0.kind != .bye && $0.kind != .drain && $0.kind != .curveRotate
        }
        // At once, whoever reads it.
        FileHandle.standardOutput.write(Data((keys.publicKey.text + "\n").utf8))
    }

    mutating func run(for duration: Duration) throws {
        let end = ContinuousClock.now + duration
        var nextGreeting = ContinuousClock.now
        while ContinuousClock.now < end {
            if try ZeroMQPoll.wait(for: [.socket(socket)], atMost: .milliseconds(1))[0] { try receive() }
            if !isRouter && ContinuousClock.now >= nextGreeting {
                nextGreeting = .now + .seconds(1)
                greetings += 1
                try send(Message(sequence: 0, time: 1, greeting).parts.map(\.bytes))
            }
            for _ in 0..<20 { try send(mischief()) }
        }
    }

    private mutating func receive() throws {
        for _ in 0..<100 {
            guard let parts = try socket.receive() else { return }
            received += 1
            if isRouter, !agents.contains(parts[0].bytes) { agents.append(parts[0].bytes) }
            let rest = parts.dropFirst(isRouter ? 1 : 0)
            guard let message = try? Message.read(rest, from: isRouter ? .agent : .router) else { continue }
            switch message.frame {
            case .hello:
                greetings += 1
                try send(Message(sequence: 0, time: 1, greeting).parts.map(\.bytes))
            case .dispatch: requests = requests.suffix(20) + [(message.id, message.attempt)]
            default: break
            }
        }
    }

    /// A frame that is wrong in some way, or right at the wrong time.
    private mutating func mischief() -> [[UInt8]] {
        let frame = frames.randomElement(using: &generator)!
        let (id, attempt) = requests.randomElement(using: &generator)!
        let sequence = Int.random(in: 0..<8, using: &generator)
        let isAboutRequest = Int.random(in: 0..<8, using: &generator) > 0
        var parts = Message(id: isAboutRequest ? id : "", attempt: attempt, sequence: sequence, time: 1, frame).parts.map(\.bytes)
        // Longer than the other side takes: the connection is lost, and comes back after a while.
        if Int.random(in: 0..<10_000, using: &generator) == 0 { return parts.dropLast() + [[UInt8](repeating: 0x81, count: 33 << 20)] }
        switch Int.random(in: 0..<400, using: &generator) {
        case 1: parts[parts.count - 1] += [UInt8](repeating: 0xc1, count: 1 << 20)
        case 2: parts += Array(repeating: [1, 2, 3], count: 500)
        case 3..<100: break
        default: for _ in 0..<Int.random(in: 1...4, using: &generator) { damage(&parts, &generator) }
        }
        return parts
    }

    private mutating func send(_ parts: [[UInt8]]) throws {
        guard !parts.isEmpty else { return }
        let message = parts.map { ZeroMQPart($0) }
        if !isRouter {
            if try socket.send(message) == .sent { sent += 1 }
            return
        }
        for agent in agents where try socket.send([ZeroMQPart(agent)] + message) == .sent { sent += 1 }
    }

    private static func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.trimmingCharacters(in: .whitespacesAndNewlines).utf8).compactMap {
            Character(UnicodeScalar($0)).hexDigitValue
        }
        return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }
}
