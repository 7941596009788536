import Foundation
import HTTPClient
import JSON
import Logging
import Mesh
import Supervision
import Threads

/// The OpenAI-compatible server beside this agent: where it is, and which models it has.
///
/// A thread asks for its models again and again. An engine that does not answer has none, unless the agent starts it again: then its models are on
/// the machine's disk still.
final class ServedEngine: Sendable {
    private struct State {
        var models: [ModelReport] = []
        var isAnswering = false
        var isStopped = false
        /// nil = the engine says nothing of itself.
        var gauges: EngineGauges?
        /// Counts the engine's starts, as far as they can be seen: each has an empty cache.
        var starts = 0
        /// Rung when the models are others.
        var bells: [Bell] = []
    }

    let client: HTTPClient
    let headers: HTTPHeaders
    private let base: String
    private let supervised: SupervisedEngine?
    private let state = Monitor(State())
    private let nextGauges = Lock(ContinuousClock.now)
    private let logger: Logger

    private static let longestList = 1 << 20
    private static let longestGauges = 4 << 20
    /// An engine without `/metrics` is asked again after this.
    private static let gaugesPause = Duration.seconds(60)

    /// - Parameters:
    ///   - url: as given to an SDK, with or without a final `/v1`.
    ///   - supervised: where the agent started the engine itself.
    init(url: String, apiKey: String?, supervised: SupervisedEngine?, most: Int, logger: Logger) {
        var path = url
        while path.hasSuffix("/") { path.removeLast() }
        base = (path.hasSuffix("/v1") ? path : path + "/v1") + "/"
        var settings = HTTPClientSettings()
        settings.maxIdle = most
        client = HTTPClient(settings)
        headers = HTTPHeaders(
            ["User-Agent: xerotier-xim-agent", "Accept: application/json, text/event-stream", "Content-Type: application/json"]
                + (apiKey.map { ["Authorization: Bearer \($0)"] } ?? []))
        self.supervised = supervised
        self.logger = logger
        startThread("models", stackSize: 512 << 10) { [self] in while look() {} }
    }

    func address(of path: String) -> String { base + path }

    /// As they are at this moment: `ready`, or `loading` while their engine is started again.
    var models: [ModelReport] {
        let (models, isAnswering) = state.withLock { ($0.models, $0.isAnswering) }
        switch supervised?.state {
        case nil: return models
        case .ready where isAnswering: return models
        case .failed, .stopped: return []
        default:
            return models.map { ModelReport(modelID: $0.modelID, version: $0.version, state: .loading, facts: $0.facts) }
        }
    }

    var gauges: EngineGauges? { state.withLock { $0.gauges } }

    var starts: Int { supervised?.restarts ?? state.withLock { $0.starts } }

    /// For as long as somebody holds the bell.
    func onChange(_ bell: Doorbell) {
        state.withLock { state in
            state.bells.removeAll { $0.bell == nil }
            state.bells.append(Bell(bell: bell))
        }
    }

    private struct Bell {
        weak var bell: Doorbell?
    }

    func stop() { state.change { $0.isStopped = true } }

    /// - Returns: false once it is stopped.
    private func look() -> Bool {
        let answer = ask()
        let gauges = (answer ?? []).isEmpty ? nil : askGauges()
        let (found, isOther, bells) = state.withLock { state in
            let found = answer ?? (supervised == nil ? [] : state.models)
            let hasNews = gauges.map { $0.differs(from: state.gauges) } ?? false
            let isNewProcess = gauges?.start != nil && state.gauges?.start != nil && gauges?.start != state.gauges?.start
            if isNewProcess || (state.models.isEmpty && !found.isEmpty) { state.starts += 1 }
            state.isAnswering = answer != nil
            defer { (state.models, state.gauges) = (found, gauges ?? state.gauges) }
            return (found, state.models != found, hasNews || isNewProcess || state.models != found ? state.bells : [])
        }
        if isOther {
            logger.notice("models of the engine", metadata: ["models": "\(found.map(\.modelID).joined(separator: ", "))"])
        }
        bells.forEach { $0.bell?.ring() }
        return !state.wait(atMost: (answer ?? []).isEmpty ? 0.5 : gauges == nil ? 5 : 2, while: { !$0.isStopped }) { $0.isStopped }
    }

    /// nil where it says nothing.
    private func askGauges() -> EngineGauges? {
        guard gauges != nil || ContinuousClock.now >= nextGauges.withLock({ $0 }) else { return nil }
        let transfer = client.start(HTTPRequest(.get, String(base.dropLast("v1/".count)) + "metrics", headers: headers))
        let end = ContinuousClock.now + .seconds(5)
        var body: [UInt8] = []
        while true {
            switch transfer.next(until: end) {
            case .head(let head) where head.status == 200: continue
            case .body(let bytes) where body.count + bytes.count <= Self.longestGauges: body.append(contentsOf: bytes)
            case .finished: return EngineGauges(Substring(decoding: body, as: UTF8.self))
            default:
                nextGauges.withLock { $0 = .now + Self.gaugesPause }
                return nil
            }
        }
    }

    /// nil where it does not answer.
    private func ask() -> [ModelReport]? {
        let transfer = client.start(HTTPRequest(.get, base + "models", headers: headers))
        let end = ContinuousClock.now + .seconds(5)
        var (body, server): ([UInt8], String?) = ([], nil)
        while true {
            switch transfer.next(until: end) {
            case .head(let head):
                if head.status != 200 { return nil }
                server = head.value(of: "server")
            case .body(let bytes):
                body.append(contentsOf: bytes)
                if body.count > Self.longestList { return nil }
            case .finished: return Self.read(body, server: server)
            case .failed, .extraDescriptorReady, .timedOut: return nil
            }
        }
    }

    private static func read(_ body: [UInt8], server: String?) -> [ModelReport] {
        let models = try? body.withUnsafeBytes { bytes in
            try JSONParser().parse(bytes) { root in
                root["data"]?.elements.compactMap { entry in
                    entry["id"]?.string.map {
                        ModelReport(modelID: $0, version: "latest", state: .ready, facts: ModelFacts(of: entry, server: server))
                    }
                } ?? []
            }
        }
        // Names that no endpoint could have are left out.
        return Array((models ?? []).filter { (1...256).contains($0.modelID.utf8.count) }.prefix(64))
    }
}
