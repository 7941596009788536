import Routing
import Testing

@Suite struct QueueTests {
    typealias Queue = RequestQueue<String>

    private static func item(
        _ value: String, project: String = "a", weight: Int = 1, priority: Int = 30, tokens: Int = 1_000, needs: String = "",
        arrival: Instant = 0,
        deadline: Instant = 30
    ) -> Queue.Item {
        Queue.Item(
            project: project, weight: weight, priority: priority, tokens: tokens, needs: needs, arrival: arrival, deadline: deadline,
            value: value)
    }

    private func drain(_ queue: inout Queue, at now: Instant = 1, _ standing: (String) -> Entitlement.Standing = { _ in .within })
        -> [String]
    {
        var values: [String] = []
        while let item = queue.next(at: now, standing: standing, canStart: { _ in true }) { values.append(item.value) }
        return values
    }

    @Test func higherPrioritiesComeFirstAndEqualOnesByArrival() {
        var queue = Queue()
        for item in [
            Self.item("free", priority: 10), Self.item("first"), Self.item("second", arrival: 0.1),
            Self.item("fast", priority: 35, arrival: 0.2),
            Self.item("flex", priority: 25),
        ] { #expect(queue.add(item, places: 8) != nil) }
        #expect(drain(&queue) == ["fast", "first", "second", "flex", "free"])
        #expect(queue.count == 0)
    }

    @Test func waitingRaisesThePriorityByOneEachTwoSecondsAndTenAtMost() {
        let old = Self.item("old", priority: 25)
        for (now, expected) in [(0, 25), (1.9, 25), (2, 26), (9.9, 29), (20, 35), (900, 35)] as [(Instant, Int)] {
            #expect(old.priority(at: now) == expected)
        }
        var queue = Queue()
        _ = queue.add(old, places: 8)
        _ = queue.add(Self.item("new", priority: 30, arrival: 12), places: 8)
        #expect(drain(&queue, at: 13) == ["old", "new"])
    }

    @Test func flexNeverOvertakesADefaultOfTheSameAgeButIsServedUnderConstantLoad() {
        var queue = Queue()
        _ = queue.add(Self.item("flex", project: "a", priority: 20 + RoutingProfile.cost.priority, arrival: 0, deadline: 60), places: 8)
        _ = queue.add(Self.item("default", project: "b", priority: 20, arrival: 0), places: 8)
        #expect(queue.next(at: 20, standing: { _ in .within }, canStart: { _ in true })?.value == "default")
        // One place each second, and a new default request for each.
        var served: Instant?
        for second in 20..<60 where served == nil {
            _ = queue.add(Self.item("default", project: "b", priority: 20, arrival: Double(second)), places: 8)
            if queue.next(at: Double(second), standing: { _ in .within }, canStart: { _ in true })?.value == "flex" {
                served = Double(second)
            }
        }
        #expect(served != nil)
    }

    @Test func projectsOfOnePriorityShareByTokensAndWeight() {
        var queue = Queue()
        for number in 0..<400 {
            _ = queue.add(Self.item("a", project: "a", tokens: 8_000, arrival: Double(number) / 1_000), places: 1_000)
            _ = queue.add(Self.item("b", project: "b", tokens: 1_000, arrival: Double(number) / 1_000), places: 1_000)
            _ = queue.add(Self.item("c", project: "c", weight: 3, tokens: 1_000, arrival: Double(number) / 1_000), places: 1_000)
        }
        var tokens: [String: Int] = [:]
        var taken = 0
        while taken < 300, let item = queue.next(at: 1, standing: { _ in .within }, canStart: { _ in true }) {
            tokens[item.project, default: 0] += item.tokens
            taken += 1
        }
        let ratio = Double(tokens["a"]!) / Double(tokens["b"]!)
        #expect(abs(ratio - 1) < 0.25, "\(tokens)")
        let weighted = Double(tokens["c"]!) / Double(tokens["b"]!)
        #expect(abs(weighted - 3) < 0.5, "\(tokens)")
    }

    @Test func aRequestOfManyTokensIsNotStarvedByManySmallOnes() {
        var queue = Queue()
        _ = queue.add(Self.item("large", project: "a", tokens: 100_000), places: 1_000)
        for _ in 0..<400 { _ = queue.add(Self.item("small", project: "b", tokens: 1_000), places: 1_000) }
        let order = drain(&queue)
        let place = order.firstIndex(of: "large")!
        #expect(place > 50 && place < 130, "\(place)")
    }

    @Test func projectsFarAboveTheirDueWaitBehindThoseBelowAtAnyPriority() {
        var queue = Queue()
        _ = queue.add(Self.item("greedy", project: "a", priority: 40), places: 8)
        _ = queue.add(Self.item("modest", project: "b", priority: 10), places: 8)
        _ = queue.add(Self.item("fair", project: "c", priority: 10, arrival: 0.5), places: 8)
        let order = drain(&queue) { ["a": .above, "b": .below][$0] ?? .within }
        #expect(order == ["modest", "greedy", "fair"])
    }

    @Test func whatCannotStartIsPassedOverAndKept() {
        var queue = Queue()
        _ = queue.add(Self.item("pinned", needs: "eu-west-1"), places: 8)
        _ = queue.add(Self.item("free"), places: 8)
        #expect(queue.next(at: 1, standing: { _ in .within }, canStart: { $0.needs == "" })?.value == "free")
        #expect(queue.next(at: 1, standing: { _ in .within }, canStart: { $0.needs == "" }) == nil)
        #expect(queue.count == 1)
        #expect(drain(&queue) == ["pinned"])
    }

    @Test func depthIsBoundedByThePlacesOfThePool() {
        var queue = Queue()
        for _ in 0..<8 { #expect(queue.add(Self.item("x"), places: 2) != nil) }
        #expect(queue.add(Self.item("x"), places: 2) == nil)
        #expect(queue.add(Self.item("x"), places: 3) != nil)
    }

    @Test func expiredAndAbandonedRequestsLeave() throws {
        var queue = Queue()
        let ticket = queue.add(Self.item("gone"), places: 8)
        let gone = try #require(ticket)
        _ = queue.add(Self.item("late", project: "b", deadline: 10), places: 8)
        _ = queue.add(Self.item("batch", deadline: .infinity), places: 8)
        #expect(queue.remove(gone)?.value == "gone")
        #expect(queue.remove(gone) == nil)
        #expect(queue.removeExpired(at: 9.9).isEmpty)
        #expect(queue.removeExpired(at: 10).map(\.value) == ["late"])
        #expect(drain(&queue, at: 1e6) == ["batch"])
    }

    @Test func profilesAreReadAndCountAsTheTableSays() {
        for (tier, profile) in [
            (nil, .balanced), ("auto", .balanced), ("default", .balanced), ("priority", .latency), ("fast", .latency),
            ("latency", .latency),
            ("scale", .throughput), ("throughput", .throughput), ("flex", .cost), ("cost", .cost), ("batch", nil), ("Flex", nil), ("", nil),
        ] as [(String?, RoutingProfile?)] {
            #expect(RoutingProfile(serviceTier: tier) == profile)
        }
        #expect(RoutingProfile.allCases.map(\.priority) == [0, 5, 0, -5, -10])
    }
}
