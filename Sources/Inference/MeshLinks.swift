import Foundation
import HTTPClient
import Logging
import Mesh
import Threads
import ZeroMQ

/// This process' connections to the routers of its machine. Sockets of ZeroMQ belong to one thread, so one thread has them all: it sends what calls
/// give it, and puts what comes into the mailbox of the call that it is for.
public final class MeshLinks: Sendable {
    private struct State {
        var outbox: [(router: Int, parts: [ZeroMQPart])] = []
        var mailboxes: [String: MeshMailbox] = [:]
        var routers: [Router]
        var nextNumber = 0
        var isStopping = false
    }

    private struct Router {
        var isConnected = false
        var isDraining = false
    }

    private let state: Lock<State>
    private let bell = Doorbell()
    private let logger: Logger

    /// Starts at once.
    /// - Parameter sockets: paths, one for each router.
    public init(sockets: [String], logger: Logger) {
        self.logger = logger
        state = Lock(State(routers: Array(repeating: Router(), count: sockets.count)))
        startThread("mesh-links") { [self] in
            do { try run(sockets) } catch { logger.critical("the links to the mesh have failed", metadata: ["error": "\(error)"]) }
        }
    }

    public func stop() {
        state.withLock { $0.isStopping = true }
        bell.ring()
    }

    /// A name for one call of a request, and where its frames go.
    func open(_ requestID: String) -> (id: String, mailbox: MeshMailbox) {
        let mailbox = MeshMailbox()
        return state.withLock { state in
            state.nextNumber += 1
            let id = "\(requestID).\(state.nextNumber)"
            state.mailboxes[id] = mailbox
            return (id, mailbox)
        }
    }

    func close(_ id: String) { state.withLock { _ = $0.mailboxes.removeValue(forKey: id) } }

    func send(_ message: Message, to router: Int) {
        let parts = message.parts
        state.withLock { $0.outbox.append((router, parts)) }
        bell.ring()
    }

    /// Connected routers in the order in which to ask them: by rendezvous hashing, so that all processes ask the same one for a pool, and those that end
    /// last.
    func routers(for pool: String) -> [Int] {
        state.withLock { state in
            let hashed = state.routers.indices.filter { state.routers[$0].isConnected }.map { number in
                (number: number, isDraining: state.routers[number].isDraining, hash: Self.hash("\(number)|\(pool)"))
            }
            return hashed.sorted { ($0.isDraining ? 1 : 0, $0.hash) < ($1.isDraining ? 1 : 0, $1.hash) }.map(\.number)
        }
    }

    /// FNV-1a, with the end of MurmurHash3, which spreads what differs in few bits.
    private static func hash(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
        hash = (hash ^ (hash >> 33)) &* 0xc4ce_b9fe_1a85_ec53
        return hash ^ (hash >> 33)
    }

    // MARK: - The thread

    private struct Link {
        let socket: ZeroMQSocket
        let monitor: ZeroMQMonitor
    }

    private func run(_ paths: [String]) throws {
        let context = try ZeroMQContext()
        let links = try paths.enumerated().map { number, path in
            let name = "gateway-\(getpid())-\(UUID().uuidString)"
            let socket = try ZeroMQSocket(
                context, .dealer,
                ZeroMQOption.heartbeat(milliseconds: 2_000, timeout: 6_000) + ZeroMQOption.reconnect(milliseconds: 50, longest: 500) + [
                    .identity(Array(name.utf8)), .sendHighWaterMark(0), .receiveHighWaterMark(0), .immediate, .longestPart(32 << 20),
                    .linger(milliseconds: 0),
                ])
            let monitor = try ZeroMQMonitor(of: socket, in: context, name: "router-\(number)")
            try socket.connect("ipc://" + path)
            return Link(socket: socket, monitor: monitor)
        }
        let items =
            [ZeroMQPoll.Item.descriptor(bell.descriptor)] + links.map { .socket($0.socket) } + links.map { .socket($0.monitor.socket) }
        while true {
            let ready = try ZeroMQPoll.wait(for: items, atMost: .seconds(10))
            for (number, link) in links.enumerated() {
                // What came before the connection was lost counts.
                if ready[1 + number] || ready[1 + links.count + number] { try receive(from: link, number) }
                if ready[1 + links.count + number] { try look(at: link, number) }
            }
            if ready[0] {
                bell.silence()
                let (outbox, isStopping) = state.withLock { state in
                    defer { state.outbox = [] }
                    return (state.outbox, state.isStopping)
                }
                if isStopping { return }
                for (router, parts) in outbox where try links[router].socket.send(parts) != .sent {
                    mailbox(of: parts[1])?.lose(router)
                }
            }
        }
    }

    private func receive(from link: Link, _ number: Int) throws {
        while let parts = try link.socket.receive() {
            guard parts.count > 1 else { continue }
            if parts[1].count > 0 {
                mailbox(of: parts[1])?.add(parts)
            } else if case .drain = try? Message.read(parts[...], from: .relay)?.frame {
                state.withLock { $0.routers[number].isDraining = true }
            }
        }
    }

    private func mailbox(of id: ZeroMQPart) -> MeshMailbox? {
        let id = id.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        return state.withLock { $0.mailboxes[id] }
    }

    private func look(at link: Link, _ number: Int) throws {
        while let event = try link.monitor.next() {
            switch event.kind {
            case .admitted:
                state.withLock { $0.routers[number] = Router(isConnected: true) }
                _ = try link.socket.send(Message(sequence: 0, time: 0, .attach(Attach())).parts)
                logger.notice("a router of the mesh is there", metadata: ["number": "\(number)"])
            case .disconnected:
                let mailboxes = state.withLock { state in
                    state.routers[number] = Router()
                    return Array(state.mailboxes.values)
                }
                for mailbox in mailboxes { mailbox.lose(number) }
                logger.warning("a router of the mesh is gone", metadata: ["number": "\(number)"])
            default: break
            }
        }
    }
}

/// What has come for one call. Its thread sleeps on the bell, and on its client.
final class MeshMailbox: Sendable {
    private struct State {
        var messages: [[ZeroMQPart]] = []
        var lost: Set<Int> = []
    }

    let bell = Doorbell()
    private let state = Lock(State())

    fileprivate func add(_ message: [ZeroMQPart]) {
        let isFirst = state.withLock { state in
            state.messages.append(message)
            return state.messages.count == 1
        }
        if isFirst { bell.ring() }
    }

    /// The router is gone, with what it had.
    fileprivate func lose(_ router: Int) {
        state.withLock { _ = $0.lost.insert(router) }
        bell.ring()
    }

    /// All that has come, and routers that were lost after it.
    func take() -> (messages: [[ZeroMQPart]], lost: Set<Int>) {
        bell.silence()
        return state.withLock { state in
            defer { (state.messages, state.lost) = ([], []) }
            return (state.messages, state.lost)
        }
    }
}
