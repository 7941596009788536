/// Requests that wait for a place in one pool of workers with one model (05 §1): by priority, which rises with the wait; then by deficit round robin
/// over projects, those first that have had less than their due; then by arrival. At saturation a project that has had more than twice its due waits
/// behind every project that had less than its due, whatever their priorities.
public struct RequestQueue<Value: Sendable>: Sendable {
    /// Tokens that a project of weight 1 may take in one round.
    public static var quantum: Int { 4_096 }
    /// Requests that may wait for each place of the pool.
    public static var depthFactor: Int { 4 }

    public struct Item: Sendable {
        public var project: String
        /// 1...10.
        public var weight: Int
        /// Of tier and profile together.
        public var priority: Int
        /// Estimated, of prompt and answer.
        public var tokens: Int
        /// Requests of a project with equal needs can go to the same workers, so the first of them speaks for all.
        public var needs: String
        public var arrival: Instant
        /// When it has waited too long; infinity for batches.
        public var deadline: Instant
        public var value: Value

        public init(
            project: String, weight: Int = 1, priority: Int, tokens: Int, needs: String = "", arrival: Instant, deadline: Instant,
            value: Value
        ) {
            self.project = project
            self.weight = max(1, min(10, weight))
            self.priority = priority
            self.tokens = max(1, tokens)
            self.needs = needs
            self.arrival = arrival
            self.deadline = deadline
            self.value = value
        }

        /// One more for each 2 s of waiting, at most 10 more.
        public func priority(at now: Instant) -> Int { priority + Int(min(10, max(0, now - arrival) / 2)) }
    }

    /// Names a waiting request.
    public struct Ticket: Hashable, Sendable {
        fileprivate let lane: Lane
        fileprivate let number: UInt64
    }

    fileprivate struct Lane: Hashable, Sendable {
        let project: String
        let priority: Int
        let needs: String
    }

    private struct Waiting {
        let ticket: Ticket
        let item: Item
    }

    /// Each lane in the order of arrival; none is empty.
    private var lanes: [Lane: [Waiting]] = [:]
    /// Projects with requests, in the order of their turns; the first has the turn.
    private var turns: [String] = []
    /// The project that has had its quantum of this round.
    private var turnHolder: String?
    private var deficits: [String: Int] = [:]
    private var waitingOfProjects: [String: Int] = [:]
    private var nextNumber: UInt64 = 0
    public private(set) var count = 0

    public init() {}

    /// - Parameter places: the concurrency of the pool.
    /// - Returns: nil when the queue is full: 429 `capacity_exceeded`.
    public mutating func add(_ item: Item, places: Int) -> Ticket? {
        guard count < Self.depthFactor * places else { return nil }
        nextNumber += 1
        let ticket = Ticket(lane: Lane(project: item.project, priority: item.priority, needs: item.needs), number: nextNumber)
        lanes[ticket.lane, default: []].append(Waiting(ticket: ticket, item: item))
        if waitingOfProjects[item.project] == nil { turns.append(item.project) }
        waitingOfProjects[item.project, default: 0] += 1
        count += 1
        return ticket
    }

    /// When the queue is full: takes a request of the project that has the most waiting out, if that has at least two more than this one, so that no
    /// project's flood keeps the others out. It is the one that would have come last.
    /// - Returns: what was taken out: 429 `capacity_exceeded`.
    public mutating func makeRoom(for project: String, places: Int) -> Item? {
        guard count >= Self.depthFactor * places,
            let most = waitingOfProjects.max(by: { ($0.value, $0.key) < ($1.value, $1.key) }),
            most.value >= waitingOfProjects[project, default: 0] + 2
        else { return nil }
        let lane = lanes.filter { $0.key.project == most.key }.min {
            ($0.key.priority, -$0.value.last!.item.arrival) < ($1.key.priority, -$1.value.last!.item.arrival)
        }
        return lane.map { take($0.key, $0.value.count - 1) }
    }

    /// Its client has left. nil where it waits no more.
    public mutating func remove(_ ticket: Ticket) -> Item? {
        guard let place = lanes[ticket.lane]?.firstIndex(where: { $0.ticket.number == ticket.number }) else { return nil }
        return take(ticket.lane, place)
    }

    /// Takes out all that have waited too long.
    public mutating func removeExpired(at now: Instant) -> [Item] {
        var expired: [Item] = []
        for (lane, waiting) in lanes {
            for place in waiting.indices.reversed() where waiting[place].item.deadline <= now { expired.append(take(lane, place)) }
        }
        return expired.sorted { $0.arrival < $1.arrival }
    }

    /// Takes out the next request that can go somewhere.
    /// - Parameters:
    ///   - standing: how a project stands in the pool (`FairShare`).
    ///   - canStart: asked for the first of each lane.
    public mutating func next(
        at now: Instant, standing: (String) -> Entitlement.Standing, canStart: (Item) -> Bool
    ) -> Item? {
        var standings: [String: Entitlement.Standing] = [:]
        for project in turns { standings[project] = standing(project) }
        let heads = lanes.compactMap { lane, waiting in canStart(waiting[0].item) ? Head(lane: lane, waiting: waiting[0], at: now) : nil }
        let anyIsBelow = heads.contains { standings[$0.lane.project] == .below }
        let inTurn = anyIsBelow ? heads.filter { standings[$0.lane.project] != .above } : heads
        // Waiting lifts all requests of one priority together, as far as it lifts the first of them: among themselves projects take turns, or one with
        // many old requests would keep all others out.
        var lifted: [Int: Int] = [:]
        for head in inTurn { lifted[head.lane.priority] = max(lifted[head.lane.priority] ?? head.priority, head.priority) }
        guard let highest = lifted.values.max() else { return nil }
        // Of each project, the request that has waited longest.
        var firsts: [String: Head] = [:]
        for head in inTurn where lifted[head.lane.priority] == highest {
            if let other = firsts[head.lane.project], other.waiting.item.arrival <= head.waiting.item.arrival { continue }
            firsts[head.lane.project] = head
        }
        // A turn may be many small requests long. Whoever has had less than its due does not wait for the end of one of somebody who has not.
        let below = firsts.filter { standings[$0.key] == .below }
        if !below.isEmpty { firsts = below }
        let project = takeTurn(of: firsts.mapValues { (tokens: $0.waiting.item.tokens, weight: $0.waiting.item.weight) })
        return take(firsts[project]!.lane, 0)
    }

    private struct Head {
        let lane: Lane
        let waiting: Waiting
        let priority: Int

        init(lane: Lane, waiting: Waiting, at now: Instant) {
            self.lane = lane
            self.waiting = waiting
            priority = waiting.item.priority(at: now)
        }
    }

    /// Deficit round robin (Shreedhar and Varghese, 1995) among the projects: a turn adds a quantum to what a project may take, and it keeps the turn
    /// while that suffices for its next request. Rounds in which nobody could start are gone through in one step.
    private mutating func takeTurn(of costs: [String: (tokens: Int, weight: Int)]) -> String {
        if let holder = turnHolder, let cost = costs[holder], deficits[holder, default: 0] >= cost.tokens {
            deficits[holder]! -= cost.tokens
            return holder
        }
        // Who had the turn stands first and comes last now.
        let order = (turns.filter { $0 != turnHolder } + turns.filter { $0 == turnHolder }).filter { costs[$0] != nil }
        let rounds = order.map { project in
            let cost = costs[project]!
            let quantum = Self.quantum * cost.weight
            return max(1, (cost.tokens - deficits[project, default: 0] + quantum - 1) / quantum)
        }
        let least = rounds.min()!
        let chosen = rounds.firstIndex(of: least)!
        for (place, project) in order.enumerated() {
            deficits[project, default: 0] += (place <= chosen ? least : least - 1) * Self.quantum * costs[project]!.weight
        }
        let winner = order[chosen]
        deficits[winner]! -= costs[winner]!.tokens
        let turn = turns.firstIndex(of: winner)!
        turns = Array(turns[turn...] + turns[..<turn])
        turnHolder = winner
        return winner
    }

    private mutating func take(_ lane: Lane, _ place: Int) -> Item {
        let taken = lanes[lane]!.remove(at: place).item
        if lanes[lane]!.isEmpty { lanes[lane] = nil }
        count -= 1
        waitingOfProjects[lane.project]! -= 1
        if waitingOfProjects[lane.project] == 0 {
            waitingOfProjects[lane.project] = nil
            deficits[lane.project] = nil
            if turnHolder == lane.project { turnHolder = nil }
            turns.removeAll { $0 == lane.project }
        }
        return taken
    }
}
