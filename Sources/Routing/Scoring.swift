import Glibc

/// Judges workers for one request. What compares workers with each other compares the eligible ones.
struct Scoring {
    private static let unknown = 0.5

    private let request: RoutingRequest
    private let matches: PrefixMatches
    private let fairness: Entitlement
    private let now: Instant
    private let weights: Weights
    /// How near the regions of the workers are; those that are the same are worked out once.
    private var proximities: [(region: String, value: Double)] = []
    private var shortestLatency: Double?
    private var highestThroughput: Double?

    init(
        _ request: RoutingRequest, judging judged: [Int], comparing eligible: [Int], of workers: UnsafeBufferPointer<Worker>,
        matches: PrefixMatches, entitlement: Entitlement,
        weights: Weights, at now: Instant
    ) {
        self.request = request
        self.matches = matches
        self.fairness = entitlement
        self.now = now
        self.weights = weights.adjusted(for: request.profile, hasHints: !request.hints.isEmpty)
        for place in eligible {
            guard let model = workers[place].models.place(of: request.model) else { continue }
            if let own = workers[place].models.models[model].history.latency { shortestLatency = min(own, shortestLatency ?? own) }
            if let own = workers[place].models.models[model].history.tokensPerSecond {
                highestThroughput = max(own, highestThroughput ?? own)
            }
        }
        guard let ingress = request.ingressRegion else { return }
        for place in judged where !proximities.contains(where: { $0.region == workers[place].region }) {
            proximities.append((workers[place].region, proximity(workers[place].region, ingress)))
        }
    }

    func score(_ values: SignalValues) -> Double { weights.score(values) }

    func values(of worker: UnsafePointer<Worker>) -> SignalValues {
        let place = worker.pointee.models.place(of: request.model)
        let history = place.map { worker.pointee.models.models[$0].history }
        var values = SignalValues()
        values[.modelAffinity] =
            switch place.map({ worker.pointee.models.models[$0].state }) {
            case .loaded: 1
            case .onDisk: 0.4
            case .fits, nil: 0.1
            }
        values[.prefixMatch] = prefixMatch(at: worker.pointee.slot)
        values[.latency] = ratio(shortestLatency, to: history?.latency)
        values[.kvPressure] = worker.pointee.load.kvUsed.map { ((0.95 - $0) / 0.45).clamped() } ?? Self.unknown
        values[.queueDepth] = worker.pointee.load.waiting.map { 1 / (1 + Double(max(0, $0)) / 4) } ?? Self.unknown
        values[.freeConcurrency] =
            worker.pointee.maxConcurrent > 0
            ? (Double(worker.pointee.maxConcurrent - worker.pointee.inFlight) / Double(worker.pointee.maxConcurrent)).clamped() : 0
        values[.errorRate] = worker.pointee.errorRate.map { max(0, 1 - 5 * $0) } ?? Self.unknown
        values[.regionProximity] = proximities.first { $0.region == worker.pointee.region }?.value ?? Self.unknown
        values[.fairShare] = 1 - (worker.pointee.share(of: request.project) - fairness.share).clamped()
        values[.tierMatch] = worker.pointee.tiers.first == request.tier ? 1 : worker.pointee.tiers.contains(request.tier) ? 0.5 : 0
        values[.sloHeadroom] = headroom(worker.pointee.load, history, maxSequences: worker.pointee.maxConcurrent, slot: worker.pointee.slot)
        values[.heartbeatFreshness] = worker.pointee.lastHeartbeat.map { (1 - (now - $0) / leaseSeconds).clamped() } ?? Self.unknown
        values[.throughput] = ratio(history?.tokensPerSecond, to: highestThroughput)
        return values
    }

    private func ratio(_ numerator: Double?, to denominator: Double?) -> Double {
        guard let numerator, let denominator else { return Self.unknown }
        return denominator > 0 ? (numerator / denominator).clamped() : 1
    }

    private func prefixMatch(at slot: Int) -> Double {
        guard !request.prefix.isEmpty else { return Self.unknown }
        guard let match = matches[slot] else { return 0 }
        return Double(match.blocks) / Double(request.prefix.count) * exp(-match.age / PrefixIndex.timeToLive)
    }

    private func headroom(_ load: Worker.Load, _ history: ModelHistory?, maxSequences: Int, slot: Int) -> Double {
        var least: Double?
        func add(_ budget: Double?, _ predicted: Double?) {
            guard let budget, let predicted else { return }
            let room = ((budget - predicted) / budget).clamped()
            least = min(room, least ?? room)
        }
        if request.hints.timeToFirstToken != nil {
            let matched = request.prefix.isEmpty ? 0 : Double(matches[slot]?.blocks ?? 0) / Double(request.prefix.count)
            add(
                request.hints.timeToFirstToken,
                history?.timeToFirstToken(uncachedPromptTokens: Double(request.promptTokens) * (1 - matched)))
        }
        if request.hints.timePerToken != nil {
            add(request.hints.timePerToken, history?.timePerToken(running: load.running ?? 0, maxSequences: maxSequences))
        }
        return least ?? Self.unknown
    }
}

/// How long a lease lasts (05 §13), which is what a heartbeat's age is measured against.
public let leaseSeconds: Double = 30

/// 1 in the same region; 0.6 where the texts before the last `-` are the same, such as `us-east-1` and `us-east-2`; else 0.2.
func proximity(_ left: String, _ right: String) -> Double {
    if left == right { return 1 }
    guard let leftEnd = left.utf8.lastIndex(of: UInt8(ascii: "-")), let rightEnd = right.utf8.lastIndex(of: UInt8(ascii: "-")) else {
        return 0.2
    }
    return left.utf8[..<leftEnd].elementsEqual(right.utf8[..<rightEnd]) ? 0.6 : 0.2
}
