import Billing
import OpenAI
import Testing

/// One account and one ledger under random events, with every answer of the ledger delivered late, lost or repeated.
private struct World {
    struct Running {
        var hold: ID<CreditHold>
        var held: Int64
    }

    var account = CreditAccount()
    let ledger: PaperLedger
    let rules = CreditAccount.Rules()
    var now = ContinuousClock.now
    var generator: Generator
    /// Calls under way, with what the request has tried that waits for it; nil = nobody waits.
    var calls: [(call: CreditCall, request: (CreditAsk, CreditAccount.Tried)?, grown: Int?)] = []
    var running: [Running] = []
    var begun = 0
    var refused = 0

    struct Generator: RandomNumberGenerator {
        var state: UInt64
        /// SplitMix64: prng.di.unimi.it/splitmix64.c
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
            return value ^ value >> 31
        }
    }

    init(seed: UInt64) {
        generator = Generator(state: seed)
        ledger = PaperLedger(balance: Int64.random(in: 0...(1 << Int64.random(in: 1...40, using: &generator)), using: &generator))
    }

    mutating func chance(_ part: Int) -> Bool { Int.random(in: 0..<part, using: &generator) == 0 }

    mutating func ask() -> CreditAsk {
        let want = Int64.random(in: 1...(1 << Int64.random(in: 1...32, using: &generator)), using: &generator)
        return CreditAsk(want: want, least: Int64.random(in: 1...want, using: &generator))
    }

    mutating func act() {
        now += .milliseconds(Int.random(in: 0...200, using: &generator))
        switch Int.random(in: 0..<10, using: &generator) {
        case 0...2:
            let ask = ask()
            take(account.step(ask, .init(), now: now, rules: rules, newID: { .random() }), ask, .init())
        case 3...4 where !calls.isEmpty: deliver(calls.remove(at: Int.random(in: 0..<calls.count, using: &generator)))
        case 5...6 where !running.isEmpty: end(running.remove(at: Int.random(in: 0..<running.count, using: &generator)))
        case 7 where !running.isEmpty: grow(Int.random(in: 0..<running.count, using: &generator), nil)
        case 8: care()
        case 9 where chance(20):
            // The sweeper ends a hold that this process believes to have.
            if let lease = account.lease, !hasCall(for: lease.id) { ledger.release(lease.id) }
        default: break
        }
    }

    func hasCall(for id: ID<CreditHold>) -> Bool { calls.contains { $0.call.hold == id } }

    mutating func take(_ step: CreditAccount.Step, _ ask: CreditAsk, _ tried: CreditAccount.Tried) {
        switch step {
        case .taken(let hold, let amount):
            #expect((ask.least...ask.want).contains(amount))
            running.append(Running(hold: hold, held: amount))
            begun += 1
        case .refused: refused += 1
        // Whoever waits asks again later, as a new request does here.
        case .wait: break
        case .call(let call): calls.append((call, (ask, tried), nil))
        }
    }

    mutating func grow(_ index: Int, _ call: CreditCall?) {
        let ask = CreditAsk(want: 1_000, least: 1)
        guard account.leases.contains(where: { $0.id == running[index].hold }) else { return }
        switch account.grow(running[index].hold, ask, calls: call == nil ? 0 : 1, now: now) {
        case .taken(_, let amount): running[index].held += amount
        case .call(let call): calls.append((call, nil, index < running.count ? index : nil))
        case .refused, .wait: break
        }
    }

    mutating func deliver(_ entry: (call: CreditCall, request: (CreditAsk, CreditAccount.Tried)?, grown: Int?)) {
        let call = entry.call
        if chance(10) {
            // The answer is lost; in half of the cases the call took effect.
            if chance(2) { _ = try? ledgerHold(call) }
            return account.failed(call)
        }
        guard let grant = try? ledgerHold(call) else { return }
        account.answered(call, grant, began: now, now: now, rules: rules)
        guard let (ask, already) = entry.request else { return }
        var tried = already
        if call.target == .own {
            tried.own = true
            if grant.granted > 0 {
                #expect((ask.least...ask.want).contains(grant.granted))
                running.append(Running(hold: call.hold, held: grant.granted))
                begun += 1
                return
            }
        } else {
            tried.lease = true
        }
        take(account.step(ask, tried, now: now, rules: rules, newID: { .random() }), ask, tried)
    }

    func ledgerHold(_ call: CreditCall) throws -> CreditGrant {
        try ledger.hold(
            call.hold, kind: call.target == .own ? .request("r") : .lease, of: .random(), gateway: "g", want: call.ask.want,
            atLeast: call.ask.least, key: "\(ID<LedgerTransaction>.random())")
    }

    mutating func end(_ request: Running) {
        let cost = chance(5) ? 0 : Int64.random(in: 0...request.held + (chance(5) ? 500 : 0), using: &generator)
        if chance(20) {
            // The settlement failed, and nothing or everything of it was written.
            if chance(2) { settle(request, cost) }
            return account.lost(request.hold, taken: request.held)
        }
        settle(request, cost)
        account.settled(request.hold, taken: request.held, cost: cost)
    }

    func settle(_ request: Running, _ cost: Int64) {
        ledger.settle(request.hold, held: request.held, cost: cost)
    }

    mutating func care() {
        var care = CreditAccount.Care()
        account.care(now: now, rules: rules, into: &care)
        for call in care.refills { calls.append((call, nil, nil)) }
        for id in care.renewals {
            if ledger.renew([id]).isEmpty { account.renewed(id, began: now) } else { account.ended(id) }
        }
        for id in care.releases { ledger.release(id) }
    }

    /// What must hold at any time.
    func check() {
        let books = ledger.state.withLock { $0 }
        #expect(books.balance >= 0)
        for lease in account.leases {
            #expect(lease.free >= 0 && lease.taken >= 0)
            #expect(lease.taken == running.filter { $0.hold == lease.id }.reduce(0) { $0 + $1.held })
            if let left = books.holds[lease.id] { #expect(lease.free + lease.taken <= left) }
        }
    }
}

@Suite struct CreditAccountTests {
    @Test(arguments: 0..<60)
    func underRandomEventsSumsAreExactAndNothingGoesBelowZero(seed: Int) {
        var world = World(seed: UInt64(seed))
        let total = world.ledger.total
        for _ in 0..<3_000 {
            world.act()
            world.check()
        }
        #expect(world.ledger.total == total)
        // Everything ends: requests, calls and leases.
        while !world.calls.isEmpty { world.deliver(world.calls.removeFirst()) }
        while !world.running.isEmpty { world.end(world.running.removeFirst()) }
        world.now += .seconds(60)
        world.care()
        world.now += .seconds(60)
        world.care()
        world.check()
        #expect(world.account.isForgettable(world.now))
        #expect(world.ledger.total == total)
        #expect(world.begun + world.refused > 100)
    }

    private let rules = CreditAccount.Rules()
    private let start = ContinuousClock.now

    /// Takes a lease of `want` from a ledger that then has `available` left, and ends with nothing taken.
    private func account(leased want: Int64, available: Int64) -> CreditAccount {
        var account = CreditAccount()
        let ask = CreditAsk(want: want, least: want)
        guard case .call(let call) = account.step(ask, .init(), now: start, rules: rules, newID: { .random() }) else { return account }
        account.answered(call, CreditGrant(granted: want, available: available), began: start, now: start, rules: rules)
        return account
    }

    private func step(_ account: inout CreditAccount, _ want: Int64, least: Int64? = nil, at now: ContinuousClock.Instant? = nil)
        -> CreditAccount.Step
    {
        account.step(CreditAsk(want: want, least: least ?? want), .init(), now: now ?? start, rules: rules, newID: { .random() })
    }

    @Test func theFirstRequestMakesALeaseOfWhatItNeeds() throws {
        var account = CreditAccount()
        guard case .call(let call) = step(&account, 500, least: 20) else { Issue.record("no call"); return }
        #expect(call.target == .lease && call.ask == CreditAsk(want: 500, least: 20))
        // The others wait for it, rather than ask beside it.
        #expect(step(&account, 500) == .wait(endedCalls: 0, failures: 0))
        account.answered(call, CreditGrant(granted: 500, available: 1), began: start, now: start, rules: rules)
        #expect(step(&account, 500) == .taken(call.hold, 500))
    }

    @Test func aLeaseIsOnePercentOfTheBalanceAndAtMostTenCents() {
        for (available, size) in [(1_000_000_000, 10_000_000), (10_000_000_000, 100_000_000), (99_000_000_000, 100_000_000)]
            as [(Int64, Int64)]
        {
            var account = account(leased: 1_000, available: available)
            _ = step(&account, 1_000)
            var care = CreditAccount.Care()
            account.care(now: start, rules: rules, into: &care)
            #expect(care.refills.map(\.ask.want) == [size])
        }
    }

    @Test func whatTheLeaseCannotCoverIsHeldAlone() {
        var account = account(leased: 1_000, available: 1_000_000)
        _ = step(&account, 1_000)
        guard case .call(let call) = step(&account, 50_000) else { Issue.record("no call"); return }
        #expect(call.target == .own && call.ask.want == 50_000)
    }

    @Test func aBalanceKnownToBeEmptyIsNotAskedAgainForAMoment() {
        var account = account(leased: 1_000, available: 0)
        guard case .call(let call) = step(&account, 5_000, least: 3_000) else { Issue.record("no call"); return }
        account.answered(call, CreditGrant(granted: 0, available: 0), began: start, now: start, rules: rules)
        #expect(step(&account, 5_000, least: 3_000) == .refused)
        // What the lease still has is given out whole.
        guard case .taken(_, 1_000) = step(&account, 5_000, least: 700) else { Issue.record("not taken"); return }
        guard case .call = step(&account, 5_000, least: 3_000, at: start + .milliseconds(501)) else { Issue.record("no call"); return }
    }

    @Test func theLastOfTheBalanceAndOfTheLeaseArePutTogether() {
        var account = account(leased: 1_100, available: 900)
        _ = step(&account, 100)
        guard case .call(let own) = step(&account, 5_000, least: 1_500) else { Issue.record("no call"); return }
        account.answered(own, CreditGrant(granted: 0, available: 900), began: start, now: start, rules: rules)
        guard case .call(let both) = step(&account, 5_000, least: 1_500) else { Issue.record("no call"); return }
        #expect(both.target == .lease && both.ask.least == 500)
        account.answered(both, CreditGrant(granted: 900, available: 0), began: start, now: start, rules: rules)
        var tried = CreditAccount.Tried()
        tried.lease = true
        tried.own = true
        let ask = CreditAsk(want: 5_000, least: 1_500)
        #expect(account.step(ask, tried, now: start, rules: rules, newID: { .random() }) == .taken(both.hold, 1_900))
    }

    @Test func aRequestThatGrowsIsNotRefusedForWhatOthersTookMeanwhile() {
        var account = account(leased: 199, available: 1_000_000)
        guard case .taken(let lease, _) = step(&account, 100) else { Issue.record("not taken"); return }
        let ask = CreditAsk(want: 100, least: 50)
        func grow(calls: Int) -> CreditAccount.Step { account.grow(lease, ask, calls: calls, now: start) }
        // Both lack one of the hundred, of which 99 are free.
        guard case .call(let first) = grow(calls: 0), case .call(let second) = grow(calls: 0) else { Issue.record("no call"); return }
        #expect(first.ask.want == 1 && second.ask.want == 1)
        account.answered(first, CreditGrant(granted: 1, available: 999_999), began: start, now: start, rules: rules)
        #expect(grow(calls: 1) == .taken(lease, 100))
        account.answered(second, CreditGrant(granted: 1, available: 999_998), began: start, now: start, rules: rules)
        guard case .call(let all) = grow(calls: 1) else { Issue.record("no call"); return }
        #expect(all.ask == ask)
        account.answered(all, CreditGrant(granted: 100, available: 999_898), began: start, now: start, rules: rules)
        #expect(grow(calls: 2) == .taken(lease, 100))
    }

    @Test func aRequestThatGrowsIsRefusedWhereTheLedgerHasNoMore() {
        var account = account(leased: 199, available: 1)
        guard case .taken(let lease, _) = step(&account, 100) else { Issue.record("not taken"); return }
        let ask = CreditAsk(want: 400, least: 200)
        guard case .call(let call) = account.grow(lease, ask, calls: 0, now: start) else { Issue.record("no call"); return }
        account.answered(call, CreditGrant(granted: 0, available: 1), began: start, now: start, rules: rules)
        #expect(account.grow(lease, ask, calls: 1, now: start) == .refused)
    }

    @Test func aLeaseIsRenewedAt20SecondsAndGivenBackWhenNobodyUsesIt() {
        var account = account(leased: 1_000, available: 10)
        _ = step(&account, 1_000)
        var care = CreditAccount.Care()
        account.care(now: start + .seconds(19), rules: rules, into: &care)
        #expect(care.renewals.isEmpty && care.releases.isEmpty)
        account.care(now: start + .seconds(20), rules: rules, into: &care)
        #expect(care.renewals.count == 1 && care.releases.isEmpty)
        account.renewed(care.renewals[0], began: start + .seconds(20))
        account.settled(care.renewals[0], taken: 1_000, cost: 400)
        care = .init()
        account.care(now: start + .seconds(21), rules: rules, into: &care)
        #expect(care.releases.count == 1)
        #expect(account.isForgettable(start + .seconds(21)))
    }

    @Test func anUnrenewedLeaseIsNotTakenFrom() {
        var account = account(leased: 1_000, available: 10)
        guard case .taken = step(&account, 400, at: start + .seconds(49)) else { Issue.record("not taken"); return }
        guard case .call = step(&account, 400, at: start + .seconds(50)) else { Issue.record("taken"); return }
    }

    @Test func aLeaseWithFarTooMuchGoesBackAfterAWhile() {
        var account = account(leased: 100_000, available: 1_000_000)
        _ = step(&account, 10)
        var care = CreditAccount.Care()
        account.care(now: start, rules: rules, into: &care)
        account.care(now: start + .seconds(4), rules: rules, into: &care)
        #expect(account.lease != nil)
        account.care(now: start + .seconds(5), rules: rules, into: &care)
        #expect(account.lease == nil)
    }

    @Test func aFailedCallIsEverybodysWhoWaitedForIt() {
        var account = CreditAccount()
        guard case .call(let call) = step(&account, 500) else { Issue.record("no call"); return }
        account.failed(call)
        #expect(account.endedCalls == 1 && account.failures == 1)
    }
}
