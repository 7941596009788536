import Foundation
import HTTPClient
import JSON
import Logging
import Mesh
import Threads

/// The OpenAI-compatible server beside this agent: where it is, and which models it has.
///
/// A thread asks for its models again and again; an engine that does not answer has none.
final class ServedEngine: Sendable {
    private struct State {
        var models: [ModelReport] = []
        var isStopped = false
        /// Rung when the models are others.
        var bells: [Doorbell] = []
    }

    let client: HTTPClient
    let headers: HTTPHeaders
    private let base: String
    private let state = Monitor(State())
    private let logger: Logger

    private static let longestList = 1 << 20

    /// - Parameter url: as given to an SDK, with or without a final `/v1`.
    init(url: String, apiKey: String?, most: Int, logger: Logger) {
        var path = url
        while path.hasSuffix("/") { path.removeLast() }
        base = (path.hasSuffix("/v1") ? path : path + "/v1") + "/"
        var settings = HTTPClientSettings()
        settings.maxIdle = most
        client = HTTPClient(settings)
        headers = HTTPHeaders(
            ["User-Agent: xerotier-xim-agent", "Accept: application/json, text/event-stream", "Content-Type: application/json"]
                + (apiKey.map { ["Authorization: Bearer \($0)"] } ?? []))
        self.logger = logger
        startThread("models", stackSize: 512 << 10) { [self] in while look() {} }
    }

    func address(of path: String) -> String { base + path }

    var models: [ModelReport] { state.withLock { $0.models } }

    func onChange(_ bell: Doorbell) { state.withLock { $0.bells.append(bell) } }

    func stop() { state.change { $0.isStopped = true } }

    /// - Returns: false once it is stopped.
    private func look() -> Bool {
        let found = ask()
        let (isOther, bells) = state.withLock { state in
            defer { state.models = found }
            return (state.models != found, state.bells)
        }
        if isOther {
            logger.notice("models of the engine", metadata: ["models": "\(found.map(\.modelID).joined(separator: ", "))"])
            bells.forEach { $0.ring() }
        }
        return !state.wait(atMost: found.isEmpty ? 0.5 : 5, while: { !$0.isStopped }) { $0.isStopped }
    }

    private func ask() -> [ModelReport] {
        let transfer = client.start(HTTPRequest(.get, base + "models", headers: headers))
        let end = ContinuousClock.now + .seconds(5)
        var (body, server): ([UInt8], String?) = ([], nil)
        while true {
            switch transfer.next(until: end) {
            case .head(let head):
                if head.status != 200 { return [] }
                server = head.value(of: "server")
            case .body(let bytes):
                body.append(contentsOf: bytes)
                if body.count > Self.longestList { return [] }
            case .finished: return Self.read(body, server: server)
            case .failed, .extraDescriptorReady, .timedOut: return []
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
