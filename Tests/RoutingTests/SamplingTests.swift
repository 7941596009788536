import Routing
import Testing

@Suite struct SamplingTests {
    private static func shares(of scores: [Double], draws: Int = 100_000, epsilon: Double = 0.05, seed: UInt64 = 7) -> (
        chosen: [Double], explored: Double
    ) {
        var generator = SplitMix64(seed: seed)
        let candidates = scores.map { Candidate(score: $0, isLoaded: true) }
        let settings = SamplingSettings(sharpness: 16, epsilon: epsilon)!
        var counts = [Int](repeating: 0, count: scores.count)
        var explored = 0
        for _ in 0..<draws {
            let drawn = draw(from: candidates, settings, using: &generator)!
            counts[drawn.place] += 1
            explored += drawn.isExploration ? 1 : 0
        }
        return (counts.map { Double($0) / Double(draws) }, Double(explored) / Double(draws))
    }

    private static func power(_ base: Double) -> Double { (0..<16).reduce(1) { product, _ in product * max(base, 0.001) } }

    @Test(arguments: [[0.8, 0.7, 0.6], [0.5, 0.5], [0.9, 0.88, 0.86, 0.84, 0.82, 0.8, 0.4, 0], [0, 0, 0]])
    func a100000DrawsFollowTheWeightsWithinOnePercent(scores: [Double]) {
        let weights = scores.map(Self.power)
        let sum = weights.reduce(0, +)
        let found = Self.shares(of: scores)
        #expect(abs(found.explored - 0.05) < 0.003, "\(found.explored)")
        for (share, weight) in zip(found.chosen, weights) {
            let expected = 0.95 * weight / sum + 0.05 / Double(scores.count)
            #expect(abs(share - expected) < 0.01, "\(share) against \(expected)")
        }
        let exact = Self.shares(of: scores, epsilon: 0)
        #expect(exact.explored == 0)
        for (share, weight) in zip(exact.chosen, weights) { #expect(abs(share - weight / sum) < 0.01) }
    }

    /// The check values of 05 §4: a full prefix makes 0.80 of 0.62; half worse queue, slots and KV take 0.12 of that.
    @Test(arguments: [(0.80, 2, 0.96), (0.80, 4, 0.92), (0.80, 10, 0.83), (0.68, 2, 0.80), (0.68, 4, 0.58), (0.68, 10, 0.32)])
    func theCheckValuesOfTheSpecificationHold(score: Double, workers: Int, expected: Double) {
        let found = Self.shares(of: [score] + [Double](repeating: 0.62, count: workers - 1))
        #expect(abs(found.chosen[0] - expected) < 0.01, "\(found.chosen[0])")
    }

    @Test func exploringStaysWithWorkersThatHaveTheModelLoaded() {
        var generator = SplitMix64(seed: 3)
        let settings = SamplingSettings(sharpness: 16, epsilon: 0.5)!
        var candidates = [0.9, 0.1, 0.1].map { Candidate(score: $0, isLoaded: true) }
        candidates[2].isLoaded = false
        for _ in 0..<10_000 { #expect(draw(from: candidates, settings, using: &generator)!.place != 2) }
        for place in candidates.indices { candidates[place].isLoaded = false }
        let places = Set((0..<1_000).map { _ in draw(from: candidates, settings, using: &generator)!.place })
        #expect(places == [0, 1, 2])
    }

    @Test func settingsOutOfTheirRangesAreRefused() {
        for (sharpness, epsilon) in [(0, 0.05), (65, 0.05), (16, -0.01), (16, 0.51), (16, .nan)] {
            #expect(SamplingSettings(sharpness: sharpness, epsilon: epsilon) == nil)
        }
        #expect(SamplingSettings(sharpness: 64, epsilon: 0.5) != nil)
    }

    @Test func noCandidateIsNoDrawAndOneIsTaken() {
        var generator = SplitMix64(seed: 3)
        #expect(draw(from: [], .standard, using: &generator) == nil)
        #expect(draw(from: [Candidate(score: 0, isLoaded: false)], .standard, using: &generator) == Draw(place: 0, isExploration: false))
    }

    @Test func tenThousandStoredDecisionsAreDrawnAgainTheSame() {
        let index = PrefixIndex(start: 0)
        var generator = SplitMix64(seed: 11)
        let workers = Pool.workers(8) { place, worker in
            for _ in 0..<place { worker.began(project: "proj_z", tokens: 10) }
        }
        var chosen: Set<Int> = []
        for _ in 0..<10_000 {
            let choice = Chooser().choose(
                for: Pool.request(), among: workers, index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator)
            let stored = choice.decision!
            let again = Decision(candidates: stored.candidates, places: stored.places, sampling: stored.sampling, seed: stored.seed)
            #expect(again == stored)
            chosen.insert(stored.chosen)
        }
        #expect(chosen == Set(0..<8))
    }
}
