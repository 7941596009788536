import Mesh
import Routing

/// How the router would choose, for people who want to know.
extension Broker {
    func explain(_ message: Message, _ asked: Explain, to gateway: GatewayConnection, at now: Instant) {
        guard case .inference(_, let model, _) = asked.route.dispatch.work else { return }
        let request = MeshRequest(
            message, asked.route, ModelVersion(id: model.id, version: model.version), from: gateway, in: region, at: now)
        // As it would be with the request.
        var shares = pools[request.pool]?.shares ?? FairShare()
        shares.add(0, of: request.routing.project, at: now)
        let explanations = chooser.explain(
            request.routing, among: workers.all, index: index,
            entitlement: shares.entitlement(of: request.routing.project, at: now), at: now)
        let explained = Explained(
            signals: Signal.allCases.map(\.name), weights: weights(for: request.routing), sharpness: chooser.sampling.sharpness,
            epsilon: chooser.sampling.epsilon, workers: shown(explanations))
        gateways.send(Message(id: message.id, sequence: 0, time: Self.wallClock, .explained(explained)), to: gateway)
    }

    /// As parts of 1.
    private func weights(for request: RoutingRequest) -> [Double] {
        let values = chooser.weights.adjusted(for: request.profile, hasHints: !request.hints.isEmpty).values
        let sum = Signal.allCases.reduce(0) { $0 + values[$1] }
        return Signal.allCases.map { values[$0] / sum }
    }

    /// The best first.
    private func shown(_ explanations: [Explanation]) -> [Explained.Worker] {
        let eligible = explanations.filter { $0.obstacle == nil }
        let candidates = eligible.map { Candidate(score: $0.score, isLoaded: $0.values[.modelAffinity] == 1) }
        let chances = Dictionary(uniqueKeysWithValues: zip(eligible.map(\.worker), probabilities(of: candidates, chooser.sampling)))
        let best = explanations.sorted { ($0.obstacle == nil ? 1 : 0, $0.score) > ($1.obstacle == nil ? 1 : 0, $1.score) }
        return best.prefix(Explained.mostWorkers).map { explanation in
            Explained.Worker(
                id: explanation.worker, region: workers[explanation.worker]?.region ?? "",
                isShared: workers[explanation.worker]?.project == nil, obstacle: explanation.obstacle?.rawValue,
                values: Signal.allCases.map { explanation.values[$0] }, score: explanation.score,
                probability: chances[explanation.worker] ?? 0)
        }
    }
}
