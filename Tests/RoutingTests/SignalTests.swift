import Routing
import Testing

@Suite struct SignalTests {
    private func value(
        _ signal: Signal, of worker: Worker, among others: [Worker] = [], entitlement: Entitlement = Pool.evenly,
        _ request: RoutingRequest = Pool.request()
    ) -> Double {
        let index = PrefixIndex(start: 0)
        return Chooser().explain(request, among: [worker] + others, index: index, entitlement: entitlement, at: Pool.now)[0].values[signal]
    }

    @Test func withoutInputASignalIsHalf() {
        let worker = Pool.worker("a") { $0.lastHeartbeat = nil }
        for signal in [
            Signal.prefixMatch, .latency, .kvPressure, .queueDepth, .errorRate, .regionProximity, .sloHeadroom, .heartbeatFreshness,
            .throughput,
        ] {
            #expect(value(signal, of: worker) == 0.5, "\(signal)")
        }
        // These always have input.
        for signal in [Signal.modelAffinity, .freeConcurrency, .fairShare, .tierMatch] {
            #expect(value(signal, of: worker) == 1, "\(signal)")
        }
    }

    @Test func modelAffinityFollowsTheStateOfTheModel() {
        for (state, expected) in [(ModelState.loaded, 1), (.onDisk, 0.4), (.fits, 0.1)] {
            #expect(value(.modelAffinity, of: Pool.worker("a") { $0.models[Pool.model]?.state = state }) == expected)
        }
    }

    @Test func pressureIsLinearBetweenHalfAndNearlyFull() {
        for (used, expected) in [(0, 1), (0.5, 1), (0.725, 0.5), (0.95, 0), (1, 0)] as [(Double, Double)] {
            #expect(abs(value(.kvPressure, of: Pool.worker("a") { $0.load.kvUsed = used }) - expected) < 1e-9)
        }
    }

    @Test func waitingAndRunningRequestsLowerTheirSignals() {
        for (waiting, expected) in [(0, 1), (4, 0.5), (12, 0.25)] {
            #expect(value(.queueDepth, of: Pool.worker("a") { $0.load.waiting = waiting }) == expected)
        }
        let busy = Pool.worker("a") { worker in for _ in 0..<6 { worker.began(project: "proj_z", tokens: 10) } }
        #expect(value(.freeConcurrency, of: busy) == 0.25)
    }

    @Test func latencyAndThroughputCompareTheEligible() {
        let slow = Pool.worker("slow", slot: 0) { $0.answered(Pool.timings(total: 1_000, decode: 1_000, output: 50)) }
        let fast = Pool.worker("fast", slot: 1) { $0.answered(Pool.timings(total: 250, decode: 200, output: 50)) }
        let fastest = Pool.worker("draining", slot: 2) {
            $0.answered(Pool.timings(total: 1, decode: 1))
            $0.state = .draining
        }
        #expect(value(.latency, of: slow, among: [fast, fastest]) == 0.25)
        #expect(value(.latency, of: fast, among: [slow, fastest]) == 1)
        #expect(value(.throughput, of: slow, among: [fast, fastest]) == 0.2)
    }

    @Test func averagesMoveByAFifth() {
        let worker = Pool.worker("a") {
            $0.answered(Pool.timings(total: 1_000))
            $0.answered(Pool.timings(total: 2_000))
        }
        #expect(worker.models[Pool.model]?.history.latency == 1_200)
        let failing = Pool.worker("a") {
            $0.answered(Pool.timings(total: 1_000))
            $0.failed(times: 1)
        }
        #expect(abs(failing.errorRate! - 0.2) < 1e-9)
        #expect(abs(value(.errorRate, of: failing)) < 1e-9)
    }

    @Test func aClientsFaultTeachesNothing() {
        var worker = Pool.worker("a") { $0.answered(Pool.timings(total: 1_000)) }
        let before = (worker.errorRate, worker.models[Pool.model]?.history, worker.breaker)
        for _ in 0..<10 {
            worker.began(project: "proj_z", tokens: 1)
            worker.ended(project: "proj_z", tokens: 1, model: Pool.model, .noNews, at: Pool.now)
        }
        #expect(worker.errorRate == before.0)
        #expect(worker.models[Pool.model]?.history == before.1)
        #expect(worker.breaker == before.2)
        #expect(worker.inFlight == 0 && worker.tokensInFlight == 0 && worker.tokensOfProjects.isEmpty)
    }

    @Test func regionsAreNearBySameTextBeforeTheLastHyphen() {
        for (ingress, expected) in [("us-east-1", 1), ("us-east-2", 0.6), ("us-west-1", 0.2), ("local", 0.2)] {
            #expect(value(.regionProximity, of: Pool.worker("a"), Pool.request { $0.ingressRegion = ingress }) == expected)
        }
    }

    @Test func fairShareFallsWithWhatTheProjectHasInFlightBeyondItsDue() {
        let worker = Pool.worker("a") {
            $0.began(project: "proj_a", tokens: 900)
            $0.began(project: "proj_b", tokens: 100)
        }
        let quarter = Entitlement(share: 0.25, used: 0.5)
        #expect(abs(value(.fairShare, of: worker, entitlement: quarter) - 0.35) < 1e-9)
        #expect(value(.fairShare, of: worker, entitlement: quarter, Pool.request(project: "proj_b")) == 1)
    }

    @Test func theFirstTierOfAWorkerMatchesBest() {
        #expect(value(.tierMatch, of: Pool.worker("a"), Pool.request { $0.tier = "free" }) == 0.5)
    }

    @Test func headroomIsTheLeastOfWhatTheHintsLeave() {
        // 800 uncached tokens in 100 ms, 10 ms a token, 50 ms beyond both.
        let worker = Pool.worker("a") { $0.answered(Pool.timings(total: 650, prefill: 100, decode: 500, output: 50)) }
        func headroom(_ first: Double?, _ each: Double?) -> Double {
            value(.sloHeadroom, of: worker, Pool.request { $0.hints = LatencyHints(timeToFirstToken: first, timePerToken: each) })
        }
        #expect(abs(headroom(300, nil) - 0.5) < 1e-9)
        #expect(abs(headroom(nil, 40) - 0.75) < 1e-9)
        #expect(abs(headroom(300, 40) - 0.5) < 1e-9)
        #expect(headroom(100, 40) == 0)
    }

    @Test func heartbeatsAge() {
        #expect(abs(value(.heartbeatFreshness, of: Pool.worker("a") { $0.lastHeartbeat = Pool.now - 7.5 }) - 0.75) < 1e-9)
    }

    @Test func aPrefixCountsByItsLengthAndAge() {
        var index = PrefixIndex(start: 0)
        index.insert([1, 2, 3], at: 0, at: Pool.now - 900)
        let request = Pool.request { $0.prefix = [1, 2, 3, 4] }
        let found = Chooser().explain(request, among: Pool.workers(2), index: index, entitlement: Pool.evenly, at: Pool.now)
        #expect(abs(found[0].values[.prefixMatch] - 0.75 * 0.6065306597) < 1e-6)
        #expect(found[1].values[.prefixMatch] == 0)
    }

    @Test func standardWeightsSumToOneAndProfilesDoubleTheirs() throws {
        #expect(abs(Weights.standard.score(SignalValues { _ in 1 }) - 1) < 1e-12)
        #expect(abs(Signal.allCases.map { Weights.standard.values[$0] }.reduce(0, +) - 1) < 1e-12)
        #expect(throws: Weights.Problem.invalid(.latency)) { try Weights(SignalValues { $0 == .latency ? -1 : 1 }) }
        #expect(throws: Weights.Problem.invalid(.latency)) { try Weights(SignalValues { $0 == .latency ? .nan : 1 }) }
        #expect(throws: Weights.Problem.allAreZero) { try Weights(SignalValues()) }
    }

    /// With one weight at 1 and the others at 0 the choice follows that signal: of two workers the better one in that signal gets nearly all.
    @Test(arguments: Signal.allCases)
    func oneWeightAloneMakesTheChoiceFollowThatSignal(signal: Signal) throws {
        var index = PrefixIndex(start: 0)
        let better = Pool.worker("better", slot: 1)
        var worse = Pool.worker("worse", slot: 0)
        var good = better
        var request = Pool.request()
        switch signal {
        case .modelAffinity: worse.models[Pool.model]?.state = .fits
        case .prefixMatch:
            request.prefix = [1, 2]
            index.insert([1, 2], at: 1, at: Pool.now)
        case .latency:
            worse.answered(Pool.timings(total: 2_000))
            good.answered(Pool.timings(total: 1_000))
        case .kvPressure:
            worse.load.kvUsed = 0.9
            good.load.kvUsed = 0.1
        case .queueDepth:
            worse.load.waiting = 8
            good.load.waiting = 0
        case .freeConcurrency: for _ in 0..<6 { worse.began(project: "proj_z", tokens: 1) }
        case .errorRate:
            worse.failed(times: 1)
            good.answered(Pool.timings(total: 1_000))
        case .regionProximity:
            request.ingressRegion = "eu-west-1"
            good = Pool.worker("better", slot: 1, region: "eu-west-1")
        case .fairShare: worse.began(project: "proj_a", tokens: 1_000)
        case .tierMatch: worse.tiers = ["free", "self_hosted"]
        case .sloHeadroom:
            request.hints.timeToFirstToken = 1_000
            worse.answered(Pool.timings(total: 1_500, prefill: 900))
            good.answered(Pool.timings(total: 650, prefill: 100))
        case .heartbeatFreshness: worse.lastHeartbeat = Pool.now - 20
        case .throughput:
            worse.answered(Pool.timings(total: 1_000, decode: 900))
            good.answered(Pool.timings(total: 1_000, decode: 300))
        }
        let chooser = Chooser(weights: try .only(signal))
        var generator = SplitMix64(seed: UInt64(signal.rawValue))
        var chosen = 0
        for _ in 0..<2_000 {
            let choice = chooser.choose(
                for: request, among: [worse, good], index: index, entitlement: Entitlement(share: 0.3, used: 0.3), at: Pool.now,
                using: &generator)
            chosen += choice.decision!.chosen
        }
        // What is left is exploring, half of 5 %.
        #expect(Double(chosen) / 2_000 > 0.96, "\(signal): \(chosen)")
    }

    @Test func aHintMovesCallsFromASlowToAFastWorker() {
        let index = PrefixIndex(start: 0)
        var generator = SplitMix64(seed: 9)
        // Equal but for the time to the first token: 1 s against 100 ms.
        let slow = Pool.worker("slow", slot: 0) { $0.answered(Pool.timings(total: 1_500, queue: 0, prefill: 1_000, decode: 500)) }
        let quick = Pool.worker("quick", slot: 1) { $0.answered(Pool.timings(total: 600, prefill: 100, decode: 500)) }
        func part(_ hints: LatencyHints) -> Double {
            let request = Pool.request { $0.hints = hints }
            let hits = (0..<5_000).count { _ in
                Chooser().choose(
                    for: request, among: [slow, quick], index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator
                )
                .decision!.chosen == 1
            }
            return Double(hits) / 5_000
        }
        #expect(part(LatencyHints(timeToFirstToken: 200)) >= 0.8)
        #expect(part(LatencyHints(timeToFirstToken: 200)) > part(LatencyHints()))
    }
}
