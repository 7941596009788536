import Billing
import OpenAI
import Threads

/// A ledger on paper, for the arithmetic of leases: one project's balance and its holds. The real one is tested with the database.
final class PaperLedger: CreditSource {
    struct State {
        var balance: Int64
        /// What is left in each open hold.
        var holds: [ID<CreditHold>: Int64] = [:]
        var requestHolds: Set<ID<CreditHold>> = []
        var endedHolds: Set<ID<CreditHold>> = []
        var revenue: Int64 = 0
        var writtenOff: Int64 = 0
        var grants: [String: CreditGrant] = [:]
        var caps = ScopedCaps(generation: 0, scopes: [])
        /// What each grant names.
        var limit: BudgetLimit?
        /// What the next calls answer instead: an error before or after the call takes effect.
        var failures: [(isAfter: Bool, error: any Error)] = []
        var holdCalls = 0
        var renewCalls = 0
        var releaseCalls = 0
        var callsAtATime = 0
        var mostCallsAtATime = 0
    }

    let state: Lock<State>
    /// Runs inside each call, without the lock.
    let delay: @Sendable () -> Void

    init(balance: Int64, delay: @escaping @Sendable () -> Void = {}) {
        state = Lock(State(balance: balance))
        self.delay = delay
    }

    func hold(
        _ id: ID<CreditHold>, kind: CreditHoldKind, of project: ID<Project>, gateway: String, want: Int64, atLeast: Int64, key: String
    ) throws -> CreditGrant {
        state.withLock { state in
            state.holdCalls += 1
            state.callsAtATime += 1
            state.mostCallsAtATime = max(state.mostCallsAtATime, state.callsAtATime)
        }
        defer { state.withLock { $0.callsAtATime -= 1 } }
        delay()
        return try state.withLock { state in
            let failure = state.failures.isEmpty ? nil : state.failures.removeFirst()
            if let failure, !failure.isAfter { throw failure.error }
            var grant = state.grants[key] ?? state.grant(id, kind, want: want, atLeast: atLeast)
            grant.limit = state.limit
            state.grants[key] = grant
            if let failure { throw failure.error }
            return grant
        }
    }

    func renew(_ ids: [ID<CreditHold>]) -> [ID<CreditHold>] {
        state.withLock { state in
            state.renewCalls += 1
            return ids.filter { state.holds[$0] == nil }
        }
    }

    func scopedCaps(of project: ID<Project>) -> ScopedCaps { state.withLock { $0.caps } }

    func release(_ id: ID<CreditHold>) {
        state.withLock { state in
            state.releaseCalls += 1
            state.end(id)
        }
    }

    /// Settles a request that took `held` of a hold.
    func settle(_ hold: ID<CreditHold>, held: Int64, cost: Int64) { state.withLock { $0.settle(hold, held: held, cost: cost) } }

    /// All money there ever was.
    var total: Int64 { state.withLock { $0.balance + $0.holds.values.reduce(0, +) + $0.revenue - $0.writtenOff } }
}

extension PaperLedger.State {
    mutating func grant(_ id: ID<CreditHold>, _ kind: CreditHoldKind, want: Int64, atLeast: Int64) -> CreditGrant {
        let amount = min(want, balance)
        guard amount >= atLeast, holds[id] != nil || !endedHolds.contains(id) else { return CreditGrant(granted: 0, available: balance) }
        balance -= amount
        holds[id, default: 0] += amount
        if case .request = kind { requestHolds.insert(id) }
        return CreditGrant(granted: amount, available: balance)
    }

    mutating func end(_ id: ID<CreditHold>) {
        balance += holds.removeValue(forKey: id) ?? 0
        endedHolds.insert(id)
    }

    mutating func settle(_ id: ID<CreditHold>, held: Int64, cost: Int64) {
        var rest = cost
        if let left = holds[id] {
            let fromHold = min(cost, held)
            precondition(fromHold <= left, "a request was let take \(fromHold) of a hold with \(left)")
            holds[id] = left - fromHold
            rest -= fromHold
            if requestHolds.contains(id) { end(id) }
        }
        let fromBalance = min(rest, balance)
        balance -= fromBalance
        writtenOff += rest - fromBalance
        revenue += cost
    }
}

extension Credit {
    /// nil = refused.
    func take(want: Int64, least: Int64, of project: ID<Project>, for requestID: String) throws -> RequestCredit? {
        do { return try take(want: want, least: least, by: CreditPayer(project: project), for: requestID) } catch is CreditRefusal {
            return nil
        }
    }
}
