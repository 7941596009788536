import Threads

/// What the agent tells Prometheus (05 §20). It counts requests; it never sees their texts.
package final class AgentMetrics: Sendable {
    /// Upper bounds in seconds.
    private static let bounds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]
    private static let prefix = "xerotier_agent_"

    private struct Histogram {
        var counts = [Int](repeating: 0, count: AgentMetrics.bounds.count)
        var count = 0
        var sum = 0.0

        mutating func add(_ seconds: Double) {
            count += 1
            sum += seconds
            if let place = AgentMetrics.bounds.firstIndex(where: { seconds <= $0 }) { counts[place] += 1 }
        }
    }

    private struct Model {
        var running = 0
        var waiting = 0
        var kvUsage: Double?
        var promptTokens = 0
        var generationTokens = 0
        var ttft = Histogram()
        var seconds = Histogram()
    }

    private struct State {
        var models: [String: Model] = [:]
        var connections = 0
        var lastAck: ContinuousClock.Instant?
        var creditsStalled = 0
        var engine: SupervisedEngine?
        var engineModel = ""
    }

    private let state = Lock(State())

    package init() {}

    /// Whether a router has welcomed the agent, and it is still there.
    package var isConnected: Bool { state.withLock { $0.connections > 0 } }

    package func watch(_ engine: SupervisedEngine, model: String) {
        state.withLock { state in
            state.engine = engine
            state.engineModel = model
        }
    }

    /// A router has welcomed the agent, or is lost.
    package func connected(_ isConnected: Bool) {
        state.withLock { state in
            state.connections += isConnected ? 1 : -1
            if isConnected { state.lastAck = .now }
        }
    }

    package func leaseRenewed() { state.withLock { $0.lastAck = .now } }
    package func creditStalled() { state.withLock { $0.creditsStalled += 1 } }

    package func requestBegan(_ model: String) { state.withLock { $0.models[model, default: Model()].running += 1 } }

    package func firstToken(_ model: String, after seconds: Double) {
        state.withLock { $0.models[model, default: Model()].ttft.add(seconds) }
    }

    package func requestEnded(_ model: String, after seconds: Double, promptTokens: Int, generationTokens: Int) {
        state.withLock { state in
            var it = state.models[model] ?? Model()
            it.running -= 1
            it.seconds.add(seconds)
            it.promptTokens += promptTokens
            it.generationTokens += generationTokens
            state.models[model] = it
        }
    }

    /// The text format of Prometheus, version 0.0.4.
    package func render() -> String {
        let state = state.withLock { $0 }
        var text = ""
        func family(_ name: String, _ type: String, _ help: String, _ lines: [(labels: String, value: String)]) {
            text += "# HELP \(Self.prefix)\(name) \(help)\n# TYPE \(Self.prefix)\(name) \(type)\n"
            for line in lines { text += "\(Self.prefix)\(name)\(line.labels) \(line.value)\n" }
        }
        var models = state.models
        if let engine = state.engine {
            models[state.engineModel] = models[state.engineModel] ?? Model()
            family("engine_restarts_total", "counter", "Starts of the engine after its first.", [("", "\(engine.restarts)")])
            let now = engine.state
            family(
                "model_state", "gauge", "1 for the state that the model's engine is in.",
                SupervisedEngine.State.allCases.map {
                    (#"{model_name="\#(Self.escaped(state.engineModel))",state="\#($0.rawValue)"}"#, $0 == now ? "1" : "0")
                })
        }
        let sorted = models.sorted { $0.key < $1.key }.map { (#"model_name="\#(Self.escaped($0.key))""#, $0.value) }
        func each(_ value: (Model) -> String?) -> [(String, String)] {
            sorted.compactMap { model in value(model.1).map { ("{\(model.0)}", $0) } }
        }
        family("num_requests_running", "gauge", "Requests that the engine works on.", each { "\($0.running)" })
        family("num_requests_waiting", "gauge", "Requests that wait for a place.", each { "\($0.waiting)" })
        family("kv_cache_usage", "gauge", "Part of the KV cache in use, where the engine tells it.", each { $0.kvUsage.map { "\($0)" } })
        family("prompt_tokens_total", "counter", "Tokens of prompts.", each { "\($0.promptTokens)" })
        family("generation_tokens_total", "counter", "Tokens of answers.", each { "\($0.generationTokens)" })
        for (name, help, part) in [
            ("ttft_seconds", "From dispatch to the first token.", \Model.ttft),
            ("request_seconds", "From dispatch to the end.", \Model.seconds),
        ] {
            text += "# HELP \(Self.prefix)\(name) \(help)\n# TYPE \(Self.prefix)\(name) histogram\n"
            for (labels, model) in sorted { text += Self.histogram(name, labels, model[keyPath: part]) }
        }
        family("mesh_connected", "gauge", "Routers that have welcomed this agent.", [("", "\(state.connections)")])
        if let ack = state.lastAck {
            family(
                "lease_age_seconds", "gauge", "Since a router renewed the lease.", [("", "\((ContinuousClock.now - ack) / .seconds(1))")])
        }
        family("credits_stalled_total", "counter", "Times that an answer waited for credits.", [("", "\(state.creditsStalled)")])
        return text
    }

    private static func histogram(_ name: String, _ labels: String, _ histogram: Histogram) -> String {
        var (text, sum) = ("", 0)
        for (bound, count) in zip(bounds, histogram.counts) {
            sum += count
            text += "\(prefix)\(name)_bucket{\(labels),le=\"\(bound)\"} \(sum)\n"
        }
        return text + "\(prefix)\(name)_bucket{\(labels),le=\"+Inf\"} \(histogram.count)\n"
            + "\(prefix)\(name)_sum{\(labels)} \(histogram.sum)\n\(prefix)\(name)_count{\(labels)} \(histogram.count)\n"
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
