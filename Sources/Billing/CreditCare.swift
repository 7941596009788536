import OpenAI
import Threads

/// The thread that keeps leases filled, renewed, and no longer than they are used.
extension Credit {
    func careUntilStopped(every pause: Duration) {
        var nextRound = ContinuousClock.now
        while true {
            let wait = max(0, (nextRound - .now) / .seconds(1))
            let rung = state.wait(atMost: wait, while: { $0.rung.isEmpty && !$0.isStopping }) { state in
                defer { state.rung = [] }
                return state.isStopping ? nil : state.rung
            }
            guard let rung else { break }
            let isRound = .now >= nextRound
            if isRound { nextRound = .now + pause }
            let work = state.withLock { self.work(isRound ? nil : rung, &$0) }
            if !perform(work) {
                // The ledger is away: the next try comes with the next round.
                state.wait(atMost: pause / .seconds(1), while: { !$0.isStopping }, then: { _ in })
            }
        }
        state.change { $0.isDone = true }
    }

    /// What leases need, by project.
    private struct Work {
        var refills: [(ID<Project>, CreditCall)] = []
        /// nil = a request's own hold.
        var renewals: [(ID<Project>?, ID<CreditHold>)] = []
        var releases: [ID<CreditHold>] = []
    }

    /// - Parameter projects: nil = all.
    private func work(_ projects: Set<ID<Project>>?, _ state: inout State) -> Work {
        let now = ContinuousClock.now
        var work = Work()
        for project in projects.map(Array.init) ?? Array(state.accounts.keys) {
            var care = CreditAccount.Care()
            state.accounts[project]?.care(now: now, rules: rules, into: &care)
            work.refills += care.refills.map { (project, $0) }
            work.renewals += care.renewals.map { (project, $0) }
            work.releases += care.releases
            if let account = state.accounts[project], account.isForgettable(now) { state.accounts[project] = nil }
        }
        if projects == nil { work.renewals += state.own.filter { now - $0.value >= rules.renewAfter }.map { (nil, $0.key) } }
        return work
    }

    /// - Returns: false when the ledger did not answer.
    private func perform(_ work: Work) -> Bool {
        var isAnswered = true
        for (project, call) in work.refills {
            let began = ContinuousClock.now
            guard let grant = try? make(call, of: CreditPayer(project: project), for: "") else {
                isAnswered = false
                continue
            }
            state.change { $0.accounts[project]?.answered(call, grant, began: began, now: .now, rules: rules) }
        }
        if !work.renewals.isEmpty { isAnswered = renew(work.renewals) && isAnswered }
        for hold in work.releases { release(hold) }
        return isAnswered
    }

    private func renew(_ holds: [(ID<Project>?, ID<CreditHold>)]) -> Bool {
        let began = ContinuousClock.now
        do {
            let ended = Set(try source.renew(holds.map(\.1)))
            if !ended.isEmpty { logger.warning("holds have ended before their requests", metadata: ["count": "\(ended.count)"]) }
            state.withLock { state in
                for (project, hold) in holds {
                    if let project {
                        if ended.contains(hold) {
                            state.accounts[project]?.ended(hold)
                        } else {
                            state.accounts[project]?.renewed(hold, began: began)
                        }
                    } else if state.own[hold] != nil {
                        state.own[hold] = began
                    }
                }
            }
            return true
        } catch {
            logger.warning("leases were not renewed", metadata: ["count": "\(holds.count)", "error": "\(error)"])
            return false
        }
    }

    /// After the last request: all leases go back.
    public func shutdown() {
        state.change { $0.isStopping = true }
        let holds = state.wait(while: { !$0.isDone }) { state in
            defer { state.accounts = [:] }
            return state.accounts.values.flatMap(\.leases).map(\.id)
        }
        for hold in holds {
            guard (try? source.release(hold)) != nil else { break }
        }
    }
}
