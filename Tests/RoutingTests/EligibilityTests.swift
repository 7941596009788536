import Routing
import Testing

@Suite struct EligibilityTests {
    typealias Case = (obstacle: Obstacle, worker: @Sendable (inout Worker) -> Void, request: @Sendable (inout RoutingRequest) -> Void)

    static let cases: [Case] = [
        (.notActive, { $0.state = .draining }, { _ in }),
        (.notActive, { $0.state = .paused }, { _ in }),
        (.notActive, { $0.state = .suspended }, { _ in }),
        (.leaseExpired, { $0.leaseUntil = Pool.now }, { _ in }),
        (.suspect, { $0.isSuspect = true }, { _ in }),
        (.tier, { $0.tiers = ["free"] }, { _ in }),
        (.model, { $0.models = WorkerModels() }, { _ in }),
        (.model, { _ in }, { $0.model.version = "2" }),
        (.model, { $0.models[Pool.model]?.state = .onDisk }, { $0.unloadedWorkers = ["us-east-1:agt_a"] }),
        (.task, { _ in }, { $0.task = .embed }),
        (.region, { _ in }, { $0.regions = ["eu-west-1"] }),
        (.region, { _ in }, { $0.regions = [] }),
        (.placement, { _ in }, { $0.agents = ["agt_other"] }),
        (.context, { _ in }, { $0.contextNeed = 8_193 }),
        (.features, { _ in }, { $0.features = [.tools, .vision] }),
        (.circuitOpen, { $0.failed(times: 5) }, { _ in }),
        (.full, { $0.maxConcurrent = 0 }, { _ in }),
    ]

    @Test(arguments: cases.indices)
    func eachFilterAloneKeepsAWorkerOut(index: Int) throws {
        let (obstacle, change, ask) = Self.cases[index]
        let index = PrefixIndex(start: 0)
        var generator = SplitMix64(seed: 1)
        let request = Pool.request(ask)
        let workers = [Pool.worker("a", change)]
        let explained = Chooser().explain(request, among: workers, index: index, entitlement: Pool.evenly, at: Pool.now)
        #expect(explained.map(\.obstacle) == [obstacle])
        let choice = Chooser().choose(
            for: request, among: workers, index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator)
        // Only a full worker is worth waiting for.
        #expect(obstacle == .full ? choice.isWait : choice.isNoWorker)

        let whole = Chooser().choose(
            for: Pool.request(), among: [Pool.worker("a")], index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator)
        #expect(whole.decision?.chosen == 0)
    }

    /// Each filter is named by a case, so that none can be dropped unseen; those about several workers have tests of their own.
    @Test func allFiltersHaveACase() {
        let others: Set<Obstacle> = [.anotherProject, .privateFirst, .noSharedFallback, .alreadyTried]
        #expect(Set(Self.cases.map(\.obstacle)).union(others) == Set(Obstacle.allCases))
    }

    @Test func projectBNeverReachesTheAgentOfProjectAIn10000Tries() {
        let index = PrefixIndex(start: 0)
        var generator = SplitMix64(seed: 2)
        let workers = [
            Pool.worker("a", slot: 0, project: "proj_a"), Pool.worker("shared", slot: 1) { $0.answered(Pool.timings(total: 90_000)) },
        ]
        for _ in 0..<10_000 {
            let choice = Chooser().choose(
                for: Pool.request(project: "proj_b"), among: workers, index: index, entitlement: Pool.evenly, at: Pool.now,
                using: &generator)
            #expect(choice.decision?.chosen == 1)
        }
        let explained = Chooser().explain(
            Pool.request(project: "proj_b"), among: workers, index: index, entitlement: Pool.evenly, at: Pool.now)
        #expect(explained.map(\.worker) == ["us-east-1:agt_shared"], "another project's agent is not even named")
    }

    @Test func privateWorkersComeBeforeSharedOnesAndSharedOnesOnlyWhereAllowed() {
        let index = PrefixIndex(start: 0)
        var generator = SplitMix64(seed: 3)
        func chosen(_ workers: [Worker], fallback: Bool) -> Int? {
            let request = Pool.request { $0.allowsSharedFallback = fallback }
            return Chooser().choose(for: request, among: workers, index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator)
                .decision?.chosen
        }
        let shared = Pool.worker("shared", slot: 0)
        let own = Pool.worker("own", slot: 1, project: "proj_a") { $0.answered(Pool.timings(total: 90_000)) }
        let away = Pool.worker("own", slot: 1, project: "proj_a") { $0.state = .draining }
        for _ in 0..<200 {
            #expect(chosen([shared, own], fallback: true) == 1)
            #expect(chosen([shared, away], fallback: true) == 0)
            #expect(chosen([shared, away], fallback: false) == nil)
            // Where the project has none of its own, the shared ones are no fallback but what there is.
            #expect(chosen([shared], fallback: false) == 0)
            #expect(chosen([shared, Pool.worker("own", slot: 1, project: "proj_b")], fallback: false) == 0)
        }
    }

    @Test func aRegionPinIsNeverLeft() {
        let index = PrefixIndex(start: 0)
        var generator = SplitMix64(seed: 4)
        let workers = [
            Pool.worker("us", slot: 0), Pool.worker("eu", slot: 1, region: "eu-west-1") { $0.answered(Pool.timings(total: 90_000)) },
        ]
        for _ in 0..<1_000 {
            let pinned = Chooser().choose(
                for: Pool.request { $0.regions = ["eu-west-1"] }, among: workers, index: index, entitlement: Pool.evenly, at: Pool.now,
                using: &generator)
            #expect(pinned.decision?.chosen == 1)
            let nowhere = Chooser().choose(
                for: Pool.request { $0.regions = ["ap-south-1"] }, among: workers, index: index, entitlement: Pool.evenly, at: Pool.now,
                using: &generator)
            #expect(nowhere.isNoWorker)
        }
    }

    @Test func aWorkerThatFailedTheRequestGetsItAgainOnlyIfAlone() {
        let index = PrefixIndex(start: 0)
        var generator = SplitMix64(seed: 5)
        let workers = Pool.workers(2)
        let request = Pool.request { $0.triedWorkers = ["us-east-1:agt_0"] }
        for _ in 0..<200 {
            let choice = Chooser().choose(
                for: request, among: workers, index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator)
            #expect(choice.decision?.chosen == 1)
        }
        let alone = Chooser().choose(
            for: request, among: [workers[0]], index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator)
        #expect(alone.decision?.chosen == 0)
    }

    @Test func aWorkerThatHadNotLoadedTheModelGetsTheRequestAgainWhenItHas() {
        let index = PrefixIndex(start: 0)
        var generator = SplitMix64(seed: 6)
        let shared = Pool.worker("shared", slot: 0)
        var own = Pool.worker("own", slot: 1, project: "proj_a") { $0.models[Pool.model]?.state = .onDisk }
        func chosen(_ unloaded: Set<String>, fallback: Bool = true) -> Int? {
            let request = Pool.request {
                $0.unloadedWorkers = unloaded
                $0.allowsSharedFallback = fallback
            }
            return Chooser().choose(
                for: request, among: [shared, own], index: index, entitlement: Pool.evenly, at: Pool.now, using: &generator
            ).decision?.chosen
        }
        #expect(chosen([]) == 1)
        #expect(chosen([own.id]) == 0)
        #expect(chosen([own.id], fallback: false) == nil, "the project has a worker for it all the same")
        own.models[Pool.model]?.state = .loaded
        #expect(chosen([own.id]) == 1)
    }
}
