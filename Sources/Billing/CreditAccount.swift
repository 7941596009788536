import OpenAI

/// Nano-USD that a request asks for: what it may need at first, and the least that it can begin or go on with.
package struct CreditAsk: Sendable, Equatable {
    package var want: Int64
    package var least: Int64

    package init(want: Int64, least: Int64) {
        self.want = want
        self.least = min(least, want)
    }
}

/// A call of the ledger that an account decided on; whoever gets it must make it and say how it went.
package struct CreditCall: Sendable, Equatable {
    package enum Target: Sendable, Equatable {
        /// More for the lease. One such call of an account runs at a time.
        case lease
        /// More for a lease, on behalf of one request that runs.
        case growth
        /// A hold for one request alone.
        case own
    }

    package var hold: ID<CreditHold>
    package var target: Target
    package var ask: CreditAsk
}

/// The credit that one gateway process keeps for one project: a lease, and what requests have taken of it (08 §6). Pure: the time and the
/// ledger's answers come in, decisions go out. All amounts are nano-USD.
///
/// For each lease, `free + taken` is what the ledger holds under its id, as far as is known here; never less is in the ledger.
package struct CreditAccount {
    package typealias Instant = ContinuousClock.Instant

    package struct Rules: Sendable {
        /// A lease has this much, or 1 % of the balance where that is less.
        package var largestLease: Int64 = 100_000_000
        /// Leases are not trusted longer without a renewal; the ledger itself waits 60 s.
        package var lifetime: Duration
        package var renewAfter: Duration
        /// A lease that nobody took from goes back.
        package var idleAfter: Duration
        /// For so long a balance that was too small is not asked for again, so that refusals cost nothing and a top-up still acts at once.
        package var emptyFor: Duration
        /// A lease that has had far too much for so long is given back, and made anew.
        package var surplusFor: Duration
        /// Calls of the ledger for requests of one project at a time; they would wait there for the same rows.
        package var callsAtATime = 8

        package init(timeScale: Double = 1) {
            func scaled(_ seconds: Double) -> Duration { .seconds(seconds * timeScale) }
            lifetime = scaled(50)
            renewAfter = scaled(20)
            idleAfter = scaled(10)
            emptyFor = scaled(0.5)
            surplusFor = scaled(5)
        }
    }

    /// What a request has already tried, so that it tries nothing twice.
    package struct Tried {
        package var lease = false
        package var own = false
        package init() {}
    }

    package enum Step: Equatable {
        case taken(ID<CreditHold>, Int64)
        /// Not even the least is there.
        case refused
        /// Others ask the ledger just now: wait until one more call has ended, then decide again.
        case wait(endedCalls: Int, failures: Int)
        case call(CreditCall)
    }

    package struct Lease {
        package let id: ID<CreditHold>
        package var free: Int64 = 0
        package var taken: Int64 = 0
        /// When the call began that renewed it last.
        var renewedAt: Instant
        var usedAt: Instant
        var surplusSince: Instant?
        /// Amounts of it are out of sight: it goes back as soon as nothing is taken.
        var hasStrays = false
    }

    /// The one that requests take from.
    package private(set) var lease: Lease?
    /// Leases that only wait for their requests; those that have none go back.
    package private(set) var retired: [Lease] = []
    /// In the balance after the last call; nil before the first.
    private var available: Int64?
    /// The hard cap that left less than the balance did, after the last call.
    package private(set) var limit: BudgetLimit?
    private var availableAt: Instant?
    private var emptyUntil: Instant?
    private var lastWant: Int64 = 0
    /// The lease that a call is under way for.
    private var asking: ID<CreditHold>?
    private var callsForOwn = 0
    /// What those want who wait.
    package var waiting: Int64 = 0
    /// Calls that have ended; it is what those wait for who wait.
    package private(set) var endedCalls = 0
    /// Calls for the lease that failed; who waited for one of them fails too.
    package private(set) var failures = 0

    package init() {}

    /// 1 % of what is left, at most ten cents.
    private func leaseSize(_ rules: Rules) -> Int64 {
        min(rules.largestLease, ((available ?? 0) + (lease?.free ?? 0)) / 100)
    }

    // MARK: Taking

    /// The next thing to do for a request that wants to begin.
    package mutating func step(
        _ ask: CreditAsk, _ tried: Tried, now: Instant, rules: Rules, newID: () -> ID<CreditHold>
    ) -> Step {
        retireIfStale(now, rules)
        lastWant = ask.want
        let free = lease?.free ?? 0
        if free >= ask.want, let taken = take(ask.want, now) { return taken }
        if isEmpty(now) {
            if free >= ask.least, let taken = take(free, now) { return taken }
            if free + (available ?? 0) < ask.least { return .refused }
        }
        let size = leaseSize(rules)
        // A lease that nobody else runs on is filled up for this request; beside others, a small one is left to them.
        if !tried.lease, lease?.taken ?? 0 == 0 || size >= ask.want || isEmpty(now) {
            guard asking == nil else { return wait }
            let id = lease?.id ?? newID()
            asking = id
            let call = CreditAsk(want: max(size, ask.want, waiting) - free, least: max(1, ask.least - free))
            return .call(CreditCall(hold: id, target: .lease, ask: call))
        }
        if !tried.own {
            guard callsForOwn < rules.callsAtATime else { return wait }
            callsForOwn += 1
            return .call(CreditCall(hold: newID(), target: .own, ask: ask))
        }
        if free >= ask.least, let taken = take(free, now) { return taken }
        return .refused
    }

    /// The next thing to do for a request that runs on a lease and needs more. It never waits for others.
    /// - Parameter calls: that were made for it already, at most two.
    package mutating func grow(_ id: ID<CreditHold>, _ ask: CreditAsk, calls: Int, now: Instant) -> Step {
        guard let free = withLease(id, { $0.free }) else { return .refused }
        if free >= ask.want || (calls > 0 && free >= ask.least) {
            let amount = min(free, ask.want)
            withLease(id) { $0.take(amount, now) }
            return .taken(id, amount)
        }
        if calls == 2 { return .refused }
        if isEmpty(now) {
            if free >= ask.least {
                withLease(id) { $0.take(free, now) }
                return .taken(id, free)
            }
            guard free + (available ?? 0) >= ask.least else { return .refused }
        }
        // The first call is for what is missing. When others took what was free meanwhile, the second is for all: what it brings is taken under one lock.
        let missing = calls == 0 ? CreditAsk(want: ask.want - free, least: max(1, ask.least - free)) : ask
        return .call(CreditCall(hold: id, target: .growth, ask: missing))
    }

    private mutating func take(_ amount: Int64, _ now: Instant) -> Step? {
        guard let id = lease?.id else { return nil }
        lease?.take(amount, now)
        return .taken(id, amount)
    }

    private var wait: Step { .wait(endedCalls: endedCalls, failures: failures) }

    private func isEmpty(_ now: Instant) -> Bool { emptyUntil.map { now < $0 } ?? false }

    // MARK: The ledger's answers

    /// - Parameter began: when the call began; the hold lives at least from then.
    package mutating func answered(_ call: CreditCall, _ grant: CreditGrant, began: Instant, now: Instant, rules: Rules) {
        end(call)
        available = grant.available
        limit = grant.limit
        availableAt = began
        if grant.granted > 0 {
            emptyUntil = nil
        } else if grant.available < call.ask.least {
            emptyUntil = now + rules.emptyFor
        }
        guard call.target != .own else { return }
        if call.target == .lease, grant.granted > 0, lease == nil, !retired.contains(where: { $0.id == call.hold }) {
            lease = Lease(id: call.hold, renewedAt: began, usedAt: now)
        }
        // A hold that takes nothing though there is enough has ended.
        if grant.granted == 0, grant.available >= call.ask.least, call.ask.want > 0 { return retire(call.hold) }
        guard grant.granted > 0 else { return }
        withLease(call.hold) { lease in
            lease.free += grant.granted
            lease.renewedAt = max(lease.renewedAt, began)
        }
    }

    /// The call failed; it may have taken effect all the same, and then goes back with the lease.
    package mutating func failed(_ call: CreditCall) {
        end(call)
        if call.target == .lease { failures += 1 }
        if call.target != .own { withLease(call.hold) { $0.hasStrays = true } }
    }

    private mutating func end(_ call: CreditCall) {
        endedCalls += 1
        switch call.target {
        case .lease: asking = nil
        case .own: callsForOwn -= 1
        case .growth: break
        }
    }

    /// The ledger has ended the lease, such as after a long outage: nothing more is taken of it.
    package mutating func ended(_ id: ID<CreditHold>) { retire(id) }

    package mutating func renewed(_ id: ID<CreditHold>, began: Instant) {
        withLease(id) { $0.renewedAt = max($0.renewedAt, began) }
    }

    // MARK: Giving back

    /// A request that took `amount` is settled: what it did not use is free again.
    package mutating func settled(_ id: ID<CreditHold>, taken amount: Int64, cost: Int64) {
        withLease(id) { lease in
            lease.taken -= amount
            lease.free += max(0, amount - cost)
        }
    }

    /// What became of `amount` is not known: it is not given out again, and comes back with the lease's end.
    package mutating func lost(_ id: ID<CreditHold>, taken amount: Int64) {
        withLease(id) { lease in
            lease.taken -= amount
            lease.hasStrays = true
        }
    }

    /// Gives up a lease that nobody runs on, for a request that finds no credit elsewhere; whoever gets it must release it.
    package mutating func giveUpLease() -> ID<CreditHold>? {
        guard let lease, lease.taken == 0, lease.free > 0, asking == nil else { return nil }
        self.lease = nil
        return lease.id
    }

    /// The project's hard caps have changed: what is held goes back, so that they count anew, and what is known of the rest is old.
    package mutating func capsChanged() {
        if let lease { retire(lease.id) }
        (available, availableAt, limit, emptyUntil) = (nil, nil, nil, nil)
    }

    // MARK: Care

    /// What is to be done for leases now, apart from requests.
    package struct Care {
        package var refills: [CreditCall] = []
        package var renewals: [ID<CreditHold>] = []
        package var releases: [ID<CreditHold>] = []
        package init() {}
    }

    /// Whether the lease should be filled before somebody finds it too small.
    package func needsRefill(_ now: Instant, _ rules: Rules) -> Bool { refill(now, rules) != nil }

    private func refill(_ now: Instant, _ rules: Rules) -> CreditAsk? {
        guard let lease, asking == nil, !isEmpty(now), !lease.hasStrays else { return nil }
        let size = leaseSize(rules)
        // Where money runs out, nothing is set aside that nobody has asked for.
        guard size >= lastWant, lease.free < max(size / 2, lastWant) else { return nil }
        return CreditAsk(want: size - lease.free, least: size - lease.free)
    }

    package mutating func care(now: Instant, rules: Rules, into care: inout Care) {
        retireIfStale(now, rules)
        if let lease, lease.taken == 0, now - lease.usedAt >= rules.idleAfter { retire(lease.id) }
        if let lease, lease.hasStrays { retire(lease.id) }
        noteSurplus(now, rules)
        // A call under way may still put money into the hold.
        care.releases += retired.filter { $0.taken == 0 && $0.id != asking }.map(\.id)
        retired.removeAll { $0.taken == 0 && $0.id != asking }
        care.renewals += ([lease].compactMap(\.self) + retired).filter { now - $0.renewedAt >= rules.renewAfter }.map(\.id)
        if let ask = refill(now, rules), let lease {
            asking = lease.id
            care.refills.append(CreditCall(hold: lease.id, target: .lease, ask: ask))
        }
    }

    private mutating func noteSurplus(_ now: Instant, _ rules: Rules) {
        guard let lease else { return }
        guard lease.free > 2 * max(leaseSize(rules), lastWant) else {
            self.lease?.surplusSince = nil
            return
        }
        if let since = lease.surplusSince, now - since >= rules.surplusFor {
            retire(lease.id)
        } else if lease.surplusSince == nil {
            self.lease?.surplusSince = now
        }
    }

    /// Nothing here that must be kept.
    package func isForgettable(_ now: Instant) -> Bool {
        lease == nil && retired.isEmpty && asking == nil && callsForOwn == 0 && waiting == 0 && !isEmpty(now)
    }

    /// All leases, at the end of the process.
    package var leases: [Lease] { retired + [lease].compactMap(\.self) }

    /// What the project could pay beyond what requests have taken, as far as is known, and since when.
    package var balance: (amount: Int64, at: Instant)? {
        guard let available, let availableAt else { return nil }
        return (available + (lease?.free ?? 0), availableAt)
    }

    private mutating func retireIfStale(_ now: Instant, _ rules: Rules) {
        if let lease, now - lease.renewedAt >= rules.lifetime { retire(lease.id) }
    }

    private mutating func retire(_ id: ID<CreditHold>) {
        guard let lease, lease.id == id else { return }
        retired.append(lease)
        self.lease = nil
    }

    @discardableResult
    private mutating func withLease<Answer>(_ id: ID<CreditHold>, _ body: (inout Lease) -> Answer) -> Answer? {
        if lease?.id == id { return body(&lease!) }
        guard let index = retired.firstIndex(where: { $0.id == id }) else { return nil }
        return body(&retired[index])
    }
}

extension CreditAccount.Lease {
    fileprivate mutating func take(_ amount: Int64, _ now: CreditAccount.Instant) {
        free -= amount
        taken += amount
        usedAt = now
    }
}
