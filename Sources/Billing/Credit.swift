import Glibc
import Logging
import OpenAI
import Postgres
import Server
import Threads

/// The money that this process may spend for projects without asking the ledger: one lease for each project that is served (08 §6).
///
/// A request takes what it may cost in memory, and gives back what it did not use when it is settled. Only when the lease is too small it asks
/// the ledger itself. One thread fills leases before they are empty, renews them, and gives back those that nobody uses.
public final class Credit: Sendable {
    struct State {
        var accounts: [ID<Project>: CreditAccount] = [:]
        /// Holds of single requests that run, and when their last renewal began.
        var own: [ID<CreditHold>: ContinuousClock.Instant] = [:]
        /// The scoped caps of projects that have or had budgets.
        var caps: [ID<Project>: ScopedCaps] = [:]
        /// Projects whose leases need care before the next round.
        var rung: Set<ID<Project>> = []
        var isStopping = false
        var isDone = false
    }

    let source: any CreditSource
    let gateway: String
    let rules: CreditAccount.Rules
    let logger: Logger
    let metrics: Metrics
    let state = Monitor(State())

    /// Starts the thread that cares for leases.
    /// - Parameters:
    ///   - gateway: this process' name in the ledger.
    ///   - timeScale: all times but the ledger's own are multiplied by this.
    public init(source: any CreditSource, gateway: String, timeScale: Double, metrics: Metrics, logger: Logger) {
        self.source = source
        self.gateway = gateway
        self.metrics = metrics
        self.logger = logger
        rules = CreditAccount.Rules(timeScale: timeScale)
        metrics.gauge("credit_leases") { Double(self.leases.count) }
        metrics.gauge("credit_leased_nano") { Double(self.leases.reduce(0) { $0 + $1.free + $1.taken }) }
        metrics.gauge("credit_lease_free_nano") { Double(self.leases.reduce(0) { $0 + $1.free }) }
        metrics.gauge("credit_request_holds") { Double(self.state.withLock { $0.own.count }) }
        startThread("credit") { self.careUntilStopped(every: .seconds(timeScale)) }
    }

    private var leases: [CreditAccount.Lease] { state.withLock { $0.accounts.values.flatMap(\.leases) } }

    /// Takes what a request asks for, or less, but not less than the least.
    ///
    /// - Throws: `CreditRefusal` when the project cannot pay the least; `APIError` 503 when the ledger had to be asked and did not answer.
    public func take(want: Int64, least: Int64, by payer: CreditPayer, for requestID: String) throws -> RequestCredit {
        let (ask, project) = (CreditAsk(want: want, least: least), payer.project)
        if payer.budgetGeneration > 0, try isUnderScopedCap(payer) { return try takeAlone(ask, payer, requestID) }
        var tried = CreditAccount.Tried()
        var step = decide(project, ask, tried)
        while true {
            switch step {
            case .taken(let hold, let amount):
                return RequestCredit(self, payer, requestID, hold: hold, isLease: true, held: amount, limit: limit(of: project))
            case .refused:
                throw refusal(limit(of: project))
            case .wait(let ended, let failures):
                step = try wait(project, ask, tried, endedCalls: ended, failures: failures)
            case .call(let call) where call.target == .own:
                tried.own = true
                let began = ContinuousClock.now
                let grant = try make(call, of: payer, for: requestID)
                state.change { state in
                    state.accounts[project, default: .init()].answered(call, grant, began: began, now: .now, rules: rules)
                    if grant.granted > 0 { state.own[call.hold] = began }
                }
                if grant.granted > 0 {
                    return RequestCredit(
                        self, payer, requestID, hold: call.hold, isLease: false, held: grant.granted, limit: grant.limit)
                }
                step = decide(project, ask, tried)
            case .call(let call):
                tried.lease = true
                let began = ContinuousClock.now
                let grant = try make(call, of: payer, for: requestID)
                // Under one lock, so that nobody else takes what this call was made for.
                step = state.change { state in
                    state.accounts[project, default: .init()].answered(call, grant, began: began, now: .now, rules: rules)
                    return decide(project, ask, tried, &state)
                }
            }
        }
    }

    /// Takes more for a request that runs. The ledger is asked at most twice.
    ///
    /// - Returns: what was added; 0 when the least cannot be paid.
    /// - Throws: when the ledger had to be asked and did not answer.
    func grow(_ request: RequestCredit, want: Int64, least: Int64) throws -> Int64 {
        let ask = CreditAsk(want: want, least: least)
        if request.isLease {
            if let amount = try growLease(request, ask) { return amount }
            // The lease has ended meanwhile, and with it what was taken of it: all is held anew.
            let all = CreditAsk(want: request.held + ask.want, least: request.held + ask.least)
            let call = CreditCall(hold: .random(), target: .growth, ask: all)
            let grant = try self.call(call, request.kind, of: request.project)
            request.limit = grant.limit
            guard grant.granted > 0 else { return 0 }
            let before = request.held
            state.withLock { state in
                state.accounts[request.project]?.lost(request.hold, taken: before)
                state.own[call.hold] = .now
            }
            request.move(to: call.hold, held: grant.granted)
            return grant.granted - before
        }
        let call = CreditCall(hold: request.hold, target: .growth, ask: ask)
        let grant = try askTwice(call, request.kind, of: request.project)
        request.limit = grant.limit
        request.add(grant.granted)
        return grant.granted
    }

    /// Asks the ledger for one request alone. What it lacks may lie here, in a lease that nobody uses.
    private func askTwice(_ call: CreditCall, _ kind: CreditHoldKind, of project: ID<Project>) throws -> CreditGrant {
        let grant = try self.call(call, kind, of: project)
        guard grant.granted == 0, let lease = state.withLock({ $0.accounts[project]?.giveUpLease() }) else { return grant }
        release(lease)
        return try self.call(call, kind, of: project)
    }

    /// nil when the lease has ended.
    private func growLease(_ request: RequestCredit, _ ask: CreditAsk) throws -> Int64? {
        let (id, project) = (request.hold, request.project)
        var step = state.withLock { $0.accounts[project, default: .init()].grow(id, ask, calls: 0, now: .now) }
        var calls = 0
        while case .call(let call) = step {
            calls += 1
            let began = ContinuousClock.now
            let grant = try make(call, of: request.payer, for: request.requestID)
            if grant.granted == 0, grant.available >= call.ask.least { return nil }
            step = state.change { state in
                state.accounts[project, default: .init()].answered(call, grant, began: began, now: .now, rules: rules)
                return state.accounts[project, default: .init()].grow(id, ask, calls: calls, now: .now)
            }
        }
        request.limit = limit(of: project)
        guard case .taken(_, let amount) = step else { return 0 }
        request.add(amount)
        return amount
    }

    /// What the project could pay beyond what requests have taken, at most a second old where it is less than `needed`.
    func balance(for request: RequestCredit, needed: Int64) throws -> Int64 {
        if let rest = request.rest { return rest }
        let project = request.project
        let known = state.withLock { $0.accounts[project]?.balance }
        if let known, !request.isLease || known.amount >= needed || .now - known.at < .seconds(1) { return known.amount }
        // Nothing is moved by this: it tells what is there.
        let call = CreditCall(hold: request.hold, target: .growth, ask: CreditAsk(want: 0, least: 0))
        let began = ContinuousClock.now
        let grant = try make(call, of: request.payer, for: "")
        request.limit = grant.limit
        return state.withLock { state in
            state.accounts[project, default: .init()].answered(call, grant, began: began, now: .now, rules: rules)
            return state.accounts[project]?.balance?.amount ?? 0
        }
    }

    func settled(_ request: RequestCredit, cost: Int64) {
        state.withLock { state in
            if request.isLease {
                state.accounts[request.project]?.settled(request.hold, taken: request.held, cost: cost)
            } else {
                state.own[request.hold] = nil
            }
        }
    }

    func giveBack(_ request: RequestCredit) {
        settled(request, cost: 0)
        if !request.isLease { release(request.hold) }
    }

    func lost(_ request: RequestCredit) {
        state.withLock { state in
            state.own[request.hold] = nil
            state.accounts[request.project]?.lost(request.hold, taken: request.held)
        }
    }

    private func limit(of project: ID<Project>) -> BudgetLimit? { state.withLock { $0.accounts[project]?.limit } }

    private func refusal(_ limit: BudgetLimit?) -> CreditRefusal {
        metrics.count("credit_refusals_total")
        return CreditRefusal(limit, now: time(nil))
    }

    // MARK: Caps

    /// Whether a hard cap with a scope covers the request. When budgets have changed, this process first gives up what it holds.
    private func isUnderScopedCap(_ payer: CreditPayer) throws -> Bool {
        func known(_ state: State) -> Bool? {
            guard let caps = state.caps[payer.project], caps.generation >= payer.budgetGeneration else { return nil }
            return caps.cover(payer)
        }
        if let isCovered = state.withLock({ known($0) }) { return isCovered }
        let caps: ScopedCaps
        do {
            caps = try source.scopedCaps(of: payer.project)
        } catch {
            logger.warning("the budgets were not read", metadata: ["error": "\(error)"])
            throw APIError.unavailable()
        }
        return state.change { state in
            if state.caps[payer.project].map({ $0.generation < caps.generation }) ?? true {
                state.caps[payer.project] = caps
                state.accounts[payer.project]?.capsChanged()
                state.rung.insert(payer.project)
            }
            return known(state) ?? caps.cover(payer)
        }
    }

    /// Holds in the ledger, beside the lease: the ledger alone sees what all requests in the scope of a cap hold together.
    private func takeAlone(_ ask: CreditAsk, _ payer: CreditPayer, _ requestID: String) throws -> RequestCredit {
        let call = CreditCall(hold: .random(), target: .own, ask: ask)
        let kind = CreditHoldKind.request(requestID, endpoint: payer.endpoint, key: payer.key)
        let began = ContinuousClock.now
        let grant = try askTwice(call, kind, of: payer.project)
        guard grant.granted > 0 else { throw refusal(grant.limit) }
        state.withLock { $0.own[call.hold] = began }
        let request = RequestCredit(self, payer, requestID, hold: call.hold, isLease: false, held: grant.granted, limit: grant.limit)
        request.rest = grant.available
        return request
    }

    // MARK: Deciding

    private func decide(_ project: ID<Project>, _ ask: CreditAsk, _ tried: CreditAccount.Tried) -> CreditAccount.Step {
        let (step, isToWake) = state.withLock { state in
            let wasRung = !state.rung.isEmpty
            return (decide(project, ask, tried, &state), !wasRung && !state.rung.isEmpty)
        }
        if isToWake { state.wakeAll() }
        return step
    }

    private func decide(
        _ project: ID<Project>, _ ask: CreditAsk, _ tried: CreditAccount.Tried, _ state: inout State
    ) -> CreditAccount.Step {
        let now = ContinuousClock.now
        let step = state.accounts[project, default: .init()].step(ask, tried, now: now, rules: rules, newID: { .random() })
        if case .wait = step { state.accounts[project]?.waiting += ask.want }
        if case .taken = step, state.accounts[project]?.needsRefill(now, rules) ?? false { state.rung.insert(project) }
        return step
    }

    private func wait(
        _ project: ID<Project>, _ ask: CreditAsk, _ tried: CreditAccount.Tried, endedCalls: Int, failures: Int
    ) throws -> CreditAccount.Step {
        try state.wait(while: { $0.accounts[project]?.endedCalls == endedCalls }) { state in
            state.accounts[project]?.waiting -= ask.want
            // What failed for one fails for all who waited for it, rather than for one after the other.
            if let account = state.accounts[project], account.failures != failures { throw APIError.unavailable() }
            return decide(project, ask, tried, &state)
        }
    }

    // MARK: Asking the ledger

    /// Makes a call that an account decided on; when it fails the account is told.
    func make(_ call: CreditCall, of payer: CreditPayer, for requestID: String) throws -> CreditGrant {
        do {
            let own = CreditHoldKind.request(requestID, endpoint: payer.endpoint, key: payer.key)
            return try self.call(call, call.target == .own ? own : .lease, of: payer.project)
        } catch {
            state.change { $0.accounts[payer.project]?.failed(call) }
            throw error
        }
    }

    private func call(_ call: CreditCall, _ kind: CreditHoldKind, of project: ID<Project>) throws -> CreditGrant {
        metrics.count("credit_holds_total", "kind=\"\(kind.name)\"")
        let key = "hold:\(ID<LedgerTransaction>.random())"
        func ask() throws -> CreditGrant {
            try source.hold(
                call.hold, kind: kind, of: project, gateway: gateway, want: call.ask.want, atLeast: call.ask.least, key: key)
        }
        do {
            do {
                return try ask()
            } catch let error as PostgresError where error.isOutcomeUnknown || error.isTransient {
                // Under the same key it happens once.
                return try ask()
            }
        } catch {
            logger.warning("the ledger did not answer", metadata: ["hold": "\(call.hold)", "error": "\(error)"])
            throw APIError.unavailable()
        }
    }

    func release(_ hold: ID<CreditHold>) {
        do {
            try source.release(hold)
        } catch {
            // It expires by itself.
            logger.warning("a hold was not released", metadata: ["hold": "\(hold)", "error": "\(error)"])
        }
    }
}
