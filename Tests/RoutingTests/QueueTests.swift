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

    @Test func whoHadLessThanItsDueDoesNotWaitForTheEndOfAnothersTurn() {
        var queue = Queue()
        for number in 0..<6 { _ = queue.add(Self.item("a\(number)", project: "a", tokens: 100, arrival: Double(number) / 10), places: 8) }
        func next(_ standing: (String) -> Entitlement.Standing) -> String? {
            queue.next(at: 1, standing: standing, canStart: { _ in true })?.value
        }
        #expect(next { _ in .within } == "a0")
        _ = queue.add(Self.item("b0", project: "b", tokens: 100, arrival: 1), places: 8)
        _ = queue.add(Self.item("b1", project: "b", tokens: 100, arrival: 1), places: 8)
        #expect(next { _ in .within } == "a1", "its turn is 4,096 tokens long")
        #expect(next { $0 == "b" ? .below : .within } == "b0")
        #expect(next { $0 == "a" ? .below : .within } == "a2")
        #expect(next { _ in .below } == "a3", "equal ones take turns")
    }

    @Test func aFloodMakesRoomForOthersAndKeepsItsOwnOldRequests() {
        var queue = Queue()
        for number in 0..<4 { #expect(queue.add(Self.item("a\(number)", project: "a", arrival: Double(number) / 10), places: 1) != nil) }
        #expect(queue.makeRoom(for: "a", places: 1) == nil && queue.add(Self.item("a4", project: "a"), places: 1) == nil)
        #expect(queue.makeRoom(for: "b", places: 2) == nil, "there is room")
        #expect(queue.makeRoom(for: "b", places: 1)?.value == "a3")
        #expect(queue.add(Self.item("b0", project: "b", arrival: 1), places: 1) != nil)
        #expect(queue.makeRoom(for: "b", places: 1)?.value == "a2")
        #expect(queue.add(Self.item("b1", project: "b", arrival: 1), places: 1) != nil)
        #expect(queue.makeRoom(for: "b", places: 1) == nil, "both have the same")
        #expect(queue.makeRoom(for: "c", places: 1)?.value == "b1")
        #expect(Set(drain(&queue)) == ["a0", "a1", "b0"])
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
