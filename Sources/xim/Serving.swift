import HTTPClient
import Mesh
import Supervision
import Threads

/// What this agent can do at a time, over all routers: it is the judge of its capacity.
final class Serving: Sendable {
    let engine: ServedEngine
    let metrics: AgentMetrics
    /// Where the agent started the engine itself.
    let supervised: SupervisedEngine?
    /// Of this machine.
    let accelerators = Accelerators.found()
    private let state: Lock<(running: Int, most: Int, isDraining: Bool)>

    enum Answer { case taken, busy, draining }

    init(_ engine: ServedEngine, most: Int, metrics: AgentMetrics, supervised: SupervisedEngine?) {
        self.engine = engine
        self.metrics = metrics
        self.supervised = supervised
        state = Lock((0, most, false))
    }

    var most: Int { state.withLock { $0.most } }

    /// From the next request on, and told to the routers with the next hello.
    func allow(_ most: Int) { state.withLock { $0.most = most } }

    func take() -> Answer {
        state.withLock { state in
            if state.isDraining { return .draining }
            guard state.running < state.most else { return .busy }
            state.running += 1
            return .taken
        }
    }

    func leave() { state.withLock { $0.running -= 1 } }

    func drain() { state.withLock { $0.isDraining = true } }

    var running: Int { state.withLock { $0.running } }
}

/// What threads of requests hand to the thread of their session, which owns the socket.
final class SessionOutbox: Sendable {
    struct Entry {
        /// Of the request.
        var key: String
        /// nil: it has ended.
        var frame: Frame?
    }

    let bell = Doorbell()
    private let entries = Lock<[Entry]>([])

    /// What is added together goes out together.
    func add(_ frames: [Frame], of key: String, isEnd: Bool = false) {
        let isFirst = entries.withLock { entries in
            let wasEmpty = entries.isEmpty
            entries += frames.map { Entry(key: key, frame: $0) }
            if isEnd { entries.append(Entry(key: key)) }
            return wasEmpty && !entries.isEmpty
        }
        if isFirst { bell.ring() }
    }

    func take() -> [Entry] {
        bell.silence()
        return entries.withLock { entries in
            defer { entries = [] }
            return entries
        }
    }
}

/// The credits of all streams of a session; see `AgentCredits`.
final class SessionCredits: Sendable {
    private let credits = Lock(AgentCredits())

    func begin(_ key: String, _ window: StreamWindow) { credits.withLock { $0.begin(key, window) } }
    func end(_ key: String) { credits.withLock { $0.end(key) } }
    func maySend(_ key: String, bytes: Int) -> Bool { credits.withLock { $0.maySend(key, bytes: bytes) } }
    func sent(_ key: String, bytes: Int) { credits.withLock { $0.sent(key, bytes: bytes) } }
    func returned(_ credit: Credit, to key: String) { credits.withLock { $0.returned(credit, to: key) } }
}
