import Agents
import Foundation
import Logging
import Mesh
import Routing
import Server
import Tenancy
import Threads

/// Stores choices of the router, behind its back: a thread of its own writes them twice a second. What comes faster than Postgres takes it, or would
/// fill the disk, is left out and counted; a choice is never waited for.
final class DecisionLog: Sendable {
    /// In one second.
    private static let mostPerSecond = 100
    /// In one decision.
    private static let mostCandidates = 256
    private static let pause = 0.5

    private struct State {
        var waiting: [RoutingDecision] = []
        var isStopped = false
    }

    private let state = Monitor(State())
    private let database: SystemDatabase
    private let metrics: Metrics
    private let logger: Logger
    private let done = Monitor(false)

    init(database: SystemDatabase, metrics: Metrics, logger: Logger) {
        self.database = database
        self.metrics = metrics
        self.logger = logger
        startThread("decisions") { [self] in
            while round() {}
            done.change { $0 = true }
        }
    }

    func add(_ make: @autoclosure () -> RoutingDecision, candidates: Int) {
        let isKept = state.withLock { state in
            guard state.waiting.count < Int(Double(Self.mostPerSecond) * Self.pause), candidates <= Self.mostCandidates else {
                return false
            }
            state.waiting.append(make())
            return true
        }
        if !isKept { metrics.count("router_decisions_not_stored_total") }
    }

    /// Writes what waits, and ends.
    func stop() {
        state.change { $0.isStopped = true }
        _ = done.wait(atMost: 10, while: { !$0 }) { $0 }
    }

    private func round() -> Bool {
        let (decisions, isStopped) = state.wait(atMost: Self.pause, while: { !$0.isStopped }) { state in
            defer { state.waiting = [] }
            return (state.waiting, state.isStopped)
        }
        do {
            try database.withConnection { try $0.store(decisions) }
        } catch {
            metrics.count("router_decisions_not_stored_total", by: decisions.count)
            logger.error("decisions could not be stored", metadata: ["error": "\(error)"])
        }
        return !isStopped
    }
}

extension RoutingDecision {
    init(_ decision: Decision, among workers: [Worker], for request: MeshRequest, at time: Double) {
        self.init(
            project: request.routing.project, request: request.route.dispatch.trace ?? request.id, attempt: request.attempt,
            model: request.pool.model.id, tier: request.pool.tier, worker: workers[decision.chosen].id,
            isExploration: decision.draw.isExploration,
            candidates: zip(decision.places, decision.candidates).map {
                Candidate(worker: workers[$0].id, score: $1.score, isLoaded: $1.isLoaded)
            }, sharpness: decision.sampling.sharpness, epsilon: decision.sampling.epsilon, seed: Int64(bitPattern: decision.seed),
            microseconds: Int(request.decisionTime * 1e6), decidedAt: time)
    }

    /// The worker that is drawn again from what is stored; nil where that makes no decision.
    var again: (worker: String, isExploration: Bool)? {
        guard !candidates.isEmpty, let sampling = SamplingSettings(sharpness: sharpness, epsilon: epsilon) else { return nil }
        let decision = Decision(
            candidates: candidates.map { Routing.Candidate(score: $0.score, isLoaded: $0.isLoaded) }, places: Array(candidates.indices),
            sampling: sampling, seed: UInt64(bitPattern: seed))
        return (candidates[decision.chosen].worker, decision.draw.isExploration)
    }
}
