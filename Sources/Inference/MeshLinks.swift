import Foundation
import Logging
import Mesh
import Threads

/// This process' connections to the routers of its machine. A call has one for itself and reads it on its own thread, so that no other thread is woken
/// on the way (`infra/decisions/0019`); connections that are free wait for the next call.
public final class MeshLinks: Sendable {
    private struct Router {
        let path: String
        /// The one that was used last is last.
        var free: [RouterConnection] = []
        let open = OpenConnections()
        var isSilent = false
    }

    private struct State {
        var routers: [Router]
        var nextNumber = 0
        var isStopping = false
    }

    private static let pingPause = 2.0
    private static let answerTime = Duration.seconds(6)

    private let state: Monitor<State>
    private let logger: Logger

    /// Starts at once.
    /// - Parameter sockets: paths, one for each router.
    public init(sockets: [String], logger: Logger) {
        self.logger = logger
        state = Monitor(State(routers: sockets.map { Router(path: $0) }))
        for router in sockets.indices { startThread("router-\(router)") { [self] in watch(router) } }
    }

    public func stop() { state.change { $0.isStopping = true } }

    /// A name for one call of a request.
    func name(_ requestID: String) -> String {
        state.withLock { state in
            state.nextNumber += 1
            return "\(requestID).\(state.nextNumber)"
        }
    }

    /// Routers in the order in which to ask them: by rendezvous hashing, so that all processes ask the same one for a pool.
    func routers(for pool: String) -> [Int] {
        let count = state.withLock { $0.routers.count }
        return (0..<count).map { (number: $0, hash: Self.hash("\($0)|\(pool)")) }.sorted { $0.hash < $1.hash }.map(\.number)
    }

    /// FNV-1a, with the end of MurmurHash3, which spreads what differs in few bits.
    private static func hash(_ text: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
        hash = (hash ^ (hash >> 33)) &* 0xc4ce_b9fe_1a85_ec53
        return hash ^ (hash >> 33)
    }

    /// nil where the router is not there, is about to end, or does not answer.
    func connection(to router: Int) -> RouterConnection? {
        while true {
            let (free, entry) = state.withLock { ($0.routers[router].free.popLast(), $0.routers[router]) }
            if entry.isSilent { return nil }
            guard let free else { return try? RouterConnection(to: entry.path, router: router, in: entry.open) }
            if free.isReady { return free }
        }
    }

    /// - Parameter connection: on which nothing is expected any more.
    func giveBack(_ connection: RouterConnection) { state.withLock { $0.routers[connection.router].free.append(connection) } }

    // MARK: - Whether they are alive

    private enum Standing { case there, away, silent }

    /// A router that has ended closes its connections; one that is stopped, or hangs, does not, and is asked.
    private func watch(_ router: Int) {
        let path = state.withLock { $0.routers[router].path }
        var connection: RouterConnection?
        var before: Standing?
        while true {
            if connection == nil { connection = try? RouterConnection(to: path, router: router) }
            let standing = connection.map(standing) ?? .away
            if standing != .there { connection = nil }
            if standing != before { note(standing, of: router) }
            // Also what was opened in the moment in which it was not known yet.
            if standing == .silent { state.withLock { $0.routers[router].open }.cut() }
            before = standing
            if state.wait(atMost: standing == .there ? Self.pingPause : 0.2, while: { !$0.isStopping }, then: { $0.isStopping }) { return }
        }
    }

    private func standing(_ connection: RouterConnection) -> Standing {
        connection.send(Message(sequence: 0, time: 0, .ping(Ping())), until: .now + Self.answerTime)
        return switch connection.next(until: .now + Self.answerTime) {
        case .message: .there
        case .lost: .away
        case .timedOut, .descriptorReady: .silent
        }
    }

    private func note(_ standing: Standing, of router: Int) {
        logger.log(
            level: standing == .there ? .notice : .warning, "a router of the mesh is \(standing)", metadata: ["number": "\(router)"])
        let freed = state.withLock { state in
            state.routers[router].isSilent = standing == .silent
            defer { if standing == .silent { state.routers[router].free = [] } }
            return state.routers[router].free
        }
        withExtendedLifetime(freed) {}
    }
}
