/// Chooses workers. All that it knows is passed in; the same input with the same seed gives the same choice.
public struct Chooser: Sendable {
    public var weights: Weights
    public var sampling: SamplingSettings

    public init(weights: Weights = .standard, sampling: SamplingSettings = .standard) {
        self.weights = weights
        self.sampling = sampling
    }

    /// - Parameters:
    ///   - workers: all that the mesh knows; those of other projects are passed over here.
    ///   - entitlement: what the request's project may use of the pool.
    public func choose(
        for request: RoutingRequest, among workers: [Worker], index: borrowing PrefixIndex, entitlement: Entitlement, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) -> Choice {
        workers.withUnsafeBufferPointer {
            choose(for: request, among: $0, index: index, entitlement: entitlement, at: now, using: &generator)
        }
    }

    /// Workers are large values: through the buffer they are looked at where they are.
    private func choose(
        for request: RoutingRequest, among workers: UnsafeBufferPointer<Worker>, index: borrowing PrefixIndex, entitlement: Entitlement,
        at now: Instant, using generator: inout some RandomNumberGenerator
    ) -> Choice {
        let eligibility = Eligibility(of: workers, for: request, at: now)
        guard !eligibility.eligible.isEmpty else { return eligibility.obstacles.contains(.full) ? .wait : .noWorker }
        let scoring = scoring(request, judging: eligibility.eligible, eligibility, workers, index, entitlement, now)
        var candidates: [Candidate] = []
        candidates.reserveCapacity(eligibility.eligible.count)
        for place in eligibility.eligible {
            let values = scoring.values(of: workers.baseAddress! + place)
            candidates.append(Candidate(score: scoring.score(values), isLoaded: values[.modelAffinity] == 1))
        }
        let decision = Decision(candidates: candidates, places: eligibility.eligible, sampling: sampling, seed: generator.next())
        return .worker(decision)
    }

    /// What `choose` would look at, for every worker, the ineligible ones too. Private workers of other projects are not the project's to see.
    public func explain(
        _ request: RoutingRequest, among workers: [Worker], index: borrowing PrefixIndex, entitlement: Entitlement, at now: Instant
    ) -> [Explanation] {
        workers.withUnsafeBufferPointer { explain(request, among: $0, index: index, entitlement: entitlement, at: now) }
    }

    private func explain(
        _ request: RoutingRequest, among workers: UnsafeBufferPointer<Worker>, index: borrowing PrefixIndex, entitlement: Entitlement,
        at now: Instant
    ) -> [Explanation] {
        let eligibility = Eligibility(of: workers, for: request, at: now)
        let visible = workers.indices.filter { eligibility.obstacles[$0] != .anotherProject }
        let scoring = scoring(request, judging: visible, eligibility, workers, index, entitlement, now)
        return visible.map { place in
            let values = scoring.values(of: workers.baseAddress! + place)
            return Explanation(
                worker: workers[place].id, obstacle: eligibility.obstacles[place], values: values, score: scoring.score(values))
        }
    }

    private func scoring(
        _ request: RoutingRequest, judging judged: [Int], _ eligibility: Eligibility, _ workers: UnsafeBufferPointer<Worker>,
        _ index: borrowing PrefixIndex,
        _ entitlement: Entitlement, _ now: Instant
    ) -> Scoring {
        let matches = index.matches(of: request.prefix, at: judged.map { workers[$0].slot }, at: now)
        return Scoring(
            request, judging: judged, comparing: eligibility.eligible, of: workers, matches: matches, entitlement: entitlement,
            weights: weights, at: now)
    }
}

public enum Choice: Sendable {
    case worker(Decision)
    /// Workers could have it, but all of them are full: it may wait in the queue.
    case wait
    /// No worker can have it: 503 `no_worker_available`.
    case noWorker
}

/// A choice with all that it was drawn from, so that it can be stored and made again.
public struct Decision: Sendable, Equatable {
    public let candidates: [Candidate]
    /// For each candidate, its place among the workers that were given.
    public let places: [Int]
    public let sampling: SamplingSettings
    public let seed: UInt64
    public let draw: Draw

    /// Draws. Stored candidates, settings and seed draw the same again. There must be candidates, as many as places.
    public init(candidates: [Candidate], places: [Int], sampling: SamplingSettings, seed: UInt64) {
        self.candidates = candidates
        self.places = places
        self.sampling = sampling
        self.seed = seed
        var generator = SplitMix64(seed: seed)
        guard let drawn = Routing.draw(from: candidates, sampling, using: &generator) else { preconditionFailure("no candidates") }
        draw = drawn
    }

    /// Place of the chosen worker among those that were given.
    public var chosen: Int { places[draw.place] }
}

/// One worker in the answer of `explain`.
public struct Explanation: Sendable, Equatable {
    public var worker: String
    /// Why it is not eligible; nil = it is.
    public var obstacle: Obstacle?
    public var values: SignalValues
    public var score: Double
}
