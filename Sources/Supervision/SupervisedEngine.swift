import Crypto
import Glibc
import HTTPClient
import Logging
import Threads

/// An engine that this agent starts and keeps running (05 §17), at one address and under one key as long as the agent lives.
///
/// A thread of its own starts it, asks after its health, and starts it again when it crashed or hangs.
package final class SupervisedEngine: Sendable {
    package enum State: String, Sendable, CaseIterable { case stopped, starting, loading, ready, stopping, crashed, failed }

    /// Lengths of 05 §17 in seconds; tests shorten them.
    package struct Limits: Sendable {
        package var healthEvery: Double
        package var silence: Double
        /// What the pauses between crash and start are multiplied by.
        package var pauseScale: Double
        package var probe = 5.0
        package var stop = 20.0

        package init(timeScale: Double = 1) {
            healthEvery = max(0.2, 5 * timeScale)
            silence = 120 * timeScale
            pauseScale = timeScale
        }
    }

    private struct Status {
        var state = State.stopped
        var restarts = 0
        var running = 0
        var isStopped = false
        var watch: HangWatch
        var problem: String?
    }

    package let url: String
    package let key: String
    private let settings: AgentSettings
    private let own: [String: String]
    private let port: Int
    private let limits: Limits
    private let client = HTTPClient()
    private let logger: Logger
    private let status: Monitor<Status>

    /// - Parameter own: the agent's environment, a part of which the engine gets.
    /// - Returns: nil where the agent starts no engine.
    package init?(_ settings: AgentSettings, own: [String: String], limits: Limits = Limits(), logger: Logger) {
        guard settings.startsEngine, let port = Self.freePort() else { return nil }
        self.settings = settings
        self.own = own
        self.port = port
        self.limits = limits
        self.logger = logger
        url = "http://127.0.0.1:\(port)"
        key = Random.bytes(32).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        status = Monitor(Status(watch: HangWatch(silence: limits.silence, at: Self.now)))
        startThread("engine", stackSize: 512 << 10) { [self] in supervise() }
    }

    package var state: State { status.withLock { $0.state } }
    package var restarts: Int { status.withLock { $0.restarts } }
    /// Why it did not become ready, with the last 4 KiB of what it wrote.
    package var problem: String? { status.withLock { $0.problem } }

    /// A request goes to the engine.
    package func requestBegan() {
        status.withLock { status in
            status.running += 1
            status.watch.sign(at: Self.now)
        }
    }

    package func requestEnded() {
        status.withLock { status in
            status.running -= 1
            status.watch.sign(at: Self.now)
        }
    }

    /// Something of an answer came.
    package func tokenCame() { status.withLock { $0.watch.sign(at: Self.now) } }

    /// Ends it, and waits until it and what it started are gone.
    package func stop() {
        status.change { $0.isStopped = true }
        status.wait(while: { $0.state != .stopped && $0.state != .failed }) { _ in }
    }

    // MARK: the thread

    private enum Ending {
        case stopped
        case crashed
        case outOfMemory
    }

    private func supervise() {
        var history = CrashHistory()
        var length = settings.maxModelLength
        var mayHalve = length != nil
        while true {
            switch run(maxModelLength: length) {
            case .stopped: return enter(.stopped)
            case .outOfMemory where mayHalve:
                mayHalve = false
                length = length.map { max(128, $0 / 2) }
                logger.warning("the engine is out of memory; once more with half the context", metadata: ["length": "\(length ?? 0)"])
            case .outOfMemory, .crashed:
                guard case .restart(let pause) = history.crashed(at: Self.now) else {
                    logger.critical("the engine crashed too often; it is not started again")
                    return enter(.failed)
                }
                enter(.crashed)
                if sleep(pause * limits.pauseScale) { return enter(.stopped) }
            }
            status.withLock { $0.restarts += 1 }
        }
    }

    /// Starts it, and stays until it has ended.
    private func run(maxModelLength: Int?) -> Ending {
        guard let command = EngineCommand(settings, port: port, key: key, maxModelLength: maxModelLength, own: own) else { return .stopped }
        enter(.starting)
        let child: ChildProcess
        do { child = try ChildProcess(command) } catch {
            status.withLock { $0.problem = "\(error)" }
            logger.error("the engine cannot be started", metadata: ["error": "\(error)"])
            return .crashed
        }
        defer { child.stop(within: limits.stop) }
        enter(.loading)
        if let ending = load(child) { return ending }
        enter(.ready)
        logger.notice("the engine is ready", metadata: ["model": "\(settings.servedName ?? "")"])
        return watch(child)
    }

    /// - Returns: nil when it is ready.
    private func load(_ child: ChildProcess) -> Ending? {
        let end = Self.now + Double(settings.startupTimeout)
        while !sleep(min(0.25, limits.healthEvery)) {
            if child.hasEnded || Self.now > end {
                let why = child.hasEnded ? child.ending : "not ready within \(settings.startupTimeout) s"
                let said = child.lastOutput
                status.withLock { $0.problem = "\(why)\n\(said)" }
                // It has seen no request yet, so that its words hold no prompt.
                logger.error("the engine did not become ready", metadata: ["why": "\(why)", "stderr": "\(said)"])
                return Self.isOutOfMemory(said) ? .outOfMemory : .crashed
            }
            if isHealthy() && answers() { return nil }
        }
        enter(.stopping)
        return .stopped
    }

    private func watch(_ child: ChildProcess) -> Ending {
        status.withLock { status in
            status.problem = nil
            status.watch = HangWatch(silence: limits.silence, at: Self.now)
        }
        var nextProbe = Self.now + limits.healthEvery
        while !sleep(0.1) {
            if child.hasEnded {
                logger.error("the engine crashed", metadata: ["how": "\(child.ending)"])
                return .crashed
            }
            guard Self.now >= nextProbe else { continue }
            nextProbe = Self.now + limits.healthEvery
            let isHealthy = isHealthy()
            let hangs = status.withLock { status in
                status.watch.probed(isHealthy: isHealthy, isIdle: status.running == 0, at: Self.now)
                return status.watch.hangs(at: Self.now)
            }
            if hangs {
                logger.error("the engine hangs; it is killed")
                child.kill()
                child.wait(atMost: 10)
                return .crashed
            }
        }
        enter(.stopping)
        return .stopped
    }

    private func enter(_ state: State) { status.change { $0.state = state } }

    /// - Returns: whether the agent stops.
    private func sleep(_ seconds: Double) -> Bool { status.wait(atMost: seconds, while: { !$0.isStopped }) { $0.isStopped } }

    // MARK: asking it

    private func isHealthy() -> Bool { call(HTTPRequest(.get, "\(url)/health", headers: headers), within: limits.probe) == 200 }

    /// One token, or one vector or score.
    private func answers() -> Bool {
        let name = Self.quoted(settings.servedName ?? "model")
        let (path, body) =
            switch settings.task {
            case .chat: ("chat/completions", #"{"model":\#(name),"max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#)
            case .embed: ("embeddings", #"{"model":\#(name),"input":"hi"}"#)
            case .rerank: ("rerank", #"{"model":\#(name),"query":"hi","documents":["hi"]}"#)
            }
        return call(HTTPRequest(.post, "\(url)/v1/\(path)", headers: headers, body: Array(body.utf8)), within: 60) == 200
    }

    private var headers: HTTPHeaders { HTTPHeaders(["Authorization: Bearer \(key)", "Content-Type: application/json"]) }

    /// - Returns: the status; nil where there is no whole answer.
    private func call(_ request: HTTPRequest, within seconds: Double) -> Int? {
        let transfer = client.start(request)
        let end = ContinuousClock.now + .seconds(seconds)
        var status: Int?
        while true {
            switch transfer.next(until: end) {
            case .head(let head): status = head.status
            case .body: continue
            case .finished: return status
            case .failed, .extraDescriptorReady, .timedOut: return nil
            }
        }
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    private static func isOutOfMemory(_ text: String) -> Bool {
        let text = text.lowercased()
        return ["out of memory", "outofmemory", "failed to allocate", "no available memory"].contains { text.contains($0) }
    }

    /// A port of 127.0.0.1 that nobody listens on now.
    private static func freePort() -> Int? {
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(probe) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isFound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(probe, $0, length) == 0 && getsockname(probe, $0, &length) == 0 }
        }
        return isFound ? Int(UInt16(bigEndian: address.sin_port)) : nil
    }

    private static var now: Double { (ContinuousClock.now - start) / .seconds(1) }
    private static let start = ContinuousClock.now
}
