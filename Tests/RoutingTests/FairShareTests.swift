import Routing
import Testing

@Suite struct FairShareTests {
    @Test func activeProjectsAreEntitledByTheirWeights() {
        var share = FairShare()
        share.add(100, of: "a", weight: 1, at: 0)
        share.add(300, of: "b", weight: 3, at: 0)
        #expect(share.entitlement(of: "a", at: 0) == Entitlement(share: 0.25, used: 0.25))
        #expect(share.entitlement(of: "b", at: 60).share == 0.75)
        // A newcomer counts with weight 1.
        #expect(share.entitlement(of: "c", at: 0) == Entitlement(share: 0.2, used: 0))
    }

    @Test func aProjectIsForgottenAfterAMinuteAndItsUseHalvesInHalf() {
        var share = FairShare()
        share.add(1_000, of: "a", at: 0)
        share.add(1_000, of: "b", at: 30)
        let use = share.entitlement(of: "a", at: 30).used
        #expect(abs(use - 1.0 / 3) < 1e-9)
        #expect(share.entitlement(of: "b", at: 61) == Entitlement(share: 1, used: 1))
    }

    @Test func standingComparesUseWithTheDue() {
        #expect(Entitlement(share: 0.25, used: 0.24).standing == .below)
        #expect(Entitlement(share: 0.25, used: 0.25).standing == .within)
        #expect(Entitlement(share: 0.25, used: 0.5).standing == .within)
        #expect(Entitlement(share: 0.25, used: 0.51).standing == .above)
    }

    /// 200 parallel calls of one project and 2 of another on 8 places: the small one waits less than twice of what it would wait alone, or one
    /// service time, since a place must become free first.
    @Test func aSmallProjectHardlyWaitsBehindALargeOne() {
        var queue = RequestQueue<Double>()
        var share = FairShare()
        var running: [(end: Double, project: String)] = []
        var waits: [Double] = []
        func ask(_ project: String, at now: Double) {
            share.add(0, of: project, at: now)
            let item = RequestQueue<Double>.Item(
                project: project, priority: 20, tokens: 500, arrival: now, deadline: .infinity, value: now)
            _ = queue.add(item, places: 100)
        }
        for _ in 0..<200 { ask("a", at: 0) }
        for _ in 0..<2 { ask("b", at: 0) }
        var now = 0.0
        while now < 120 {
            for ended in running where ended.end <= now { ask(ended.project, at: now) }
            running.removeAll { $0.end <= now }
            while running.count < 8,
                let next = queue.next(at: now, standing: { share.entitlement(of: $0, at: now).standing }, canStart: { _ in true })
            {
                share.add(next.tokens, of: next.project, at: now)
                if next.project == "b" && next.arrival > 10 { waits.append(now - next.arrival) }
                running.append((now + 1 + 0.1 * Double(running.count), next.project))
            }
            now += 0.05
        }
        #expect(waits.count > 20)
        #expect(waits.sorted()[waits.count / 2] <= 0.25, "\(waits.sorted()[waits.count / 2])")
    }
}
