import Routing

/// Workers and requests as tests need them: everything in order unless a test says otherwise. The time is 1,000 s.
enum Pool {
    static let now: Instant = 1_000
    static let model = ModelVersion(id: "small", version: "1")

    static func worker(
        _ name: String, slot: Int = 0, project: String? = nil, region: String = "us-east-1", _ change: (inout Worker) -> Void = { _ in }
    ) -> Worker {
        var worker = Worker(
            id: "\(region):agt_\(name)", slot: slot, project: project, region: region, tiers: ["self_hosted", "free"], leaseUntil: now + 30,
            maxConcurrent: 8)
        worker.models[model] = Worker.Model(
            state: .loaded, tasks: [.chat, .completion], contextLength: 8_192, features: [.tools, .guidedDecoding])
        worker.lastHeartbeat = now
        change(&worker)
        return worker
    }

    static func workers(_ count: Int, _ change: (Int, inout Worker) -> Void = { _, _ in }) -> [Worker] {
        (0..<count).map { place in worker("\(place)", slot: place) { change(place, &$0) } }
    }

    static func request(project: String = "proj_a", _ change: (inout RoutingRequest) -> Void = { _ in }) -> RoutingRequest {
        var request = RoutingRequest(
            project: project, model: model, tier: "self_hosted", task: .chat, contextNeed: 1_000, promptTokens: 800)
        change(&request)
        return request
    }

    static let evenly = Entitlement(share: 0.5, used: 0.5)

    static func timings(total: Double, queue: Double = 0, prefill: Double = 100, decode: Double = 500, output: Int = 50) -> AnswerTimings {
        AnswerTimings(
            total: total, queue: queue, prefill: prefill, decode: decode, promptTokens: 800, cachedTokens: 0, outputTokens: output)
    }
}

extension Worker {
    /// Ends a request with this answer, as if it had just begun.
    mutating func answered(_ timings: AnswerTimings, times: Int = 1) {
        for _ in 0..<times {
            began(project: "proj_z", tokens: 1)
            ended(project: "proj_z", tokens: 1, model: Pool.model, .answered(timings), at: Pool.now)
        }
    }

    mutating func failed(times: Int, at now: Instant = Pool.now) {
        for _ in 0..<times {
            began(project: "proj_z", tokens: 1)
            ended(project: "proj_z", tokens: 1, model: Pool.model, .agentFault, at: now)
        }
    }
}

extension Weights {
    /// One signal counts alone.
    static func only(_ signal: Signal) throws -> Weights { try Weights(SignalValues { $0 == signal ? 1 : 0 }) }
}

extension Choice {
    var decision: Decision? { if case .worker(let decision) = self { decision } else { nil } }
    var isWait: Bool { if case .wait = self { true } else { false } }
    var isNoWorker: Bool { if case .noWorker = self { true } else { false } }
}
