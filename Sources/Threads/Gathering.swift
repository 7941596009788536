import CThreads
import Glibc

/// Work of many threads that one of them does for all.
///
/// Who needs an answer while nobody is at work does at once all that has gathered; what comes meanwhile gathers for the next round, which falls
/// to one of those who wait. So a lone caller hands nothing to another thread, and under load one round trip serves many.
public final class Gathering<Work: Sendable, Answer: Sendable>: Sendable {
    /// A piece of work, and its answer once that is there. `@unchecked Sendable`: what changes is reached only under the gathering's lock.
    public final class Place: @unchecked Sendable {
        fileprivate let work: Work
        fileprivate var answer: Answer?
        /// Where its thread sleeps, if it does.
        fileprivate var sleeper: UnsafeMutablePointer<UInt32>?
        fileprivate var isToLead = false

        fileprivate init(_ work: Work) { self.work = work }
    }

    private struct State {
        var gathered: [Place] = []
        /// A thread is at work, or has been told that it is its turn.
        var isBusy = false
    }

    private enum Step {
        case done(Answer)
        case lead
        case sleep
    }

    private let most: Int
    private let perform: @Sendable ([Work]) -> [Answer]
    private let state = Lock(State())

    /// - Parameters:
    ///   - most: the most pieces in one round.
    ///   - perform: does the work of one round and gives an answer for each piece, in their order.
    public init(most: Int, perform: @escaping @Sendable ([Work]) -> [Answer]) {
        self.most = most
        self.perform = perform
    }

    /// Adds work to the next round. Somebody must ask for its answer, or that round may never come.
    public func add(_ work: Work) -> Place {
        let place = Place(work)
        state.withLock { $0.gathered.append(place) }
        return place
    }

    /// Waits until the work is done, or does it.
    public func answer(of place: Place) -> Answer {
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 1) { words in
            let word = words.baseAddress!
            while true {
                word.initialize(to: 0)
                switch nextStep(of: place, sleepingOn: word) {
                case .done(let answer): return answer
                case .lead:
                    // On a busy machine others are about to add theirs; on an idle one this comes back at once.
                    sched_yield()
                    let round = takeRound()
                    finish(round, perform(round.map(\.work)))
                case .sleep: threads_shim_sleep(word)
                }
            }
        }
    }

    private func nextStep(of place: Place, sleepingOn word: UnsafeMutablePointer<UInt32>) -> Step {
        state.withLock { state in
            place.sleeper = nil
            if let answer = place.answer { return .done(answer) }
            if place.isToLead || !state.isBusy {
                place.isToLead = false
                state.isBusy = true
                return .lead
            }
            place.sleeper = word
            return .sleep
        }
    }

    private func takeRound() -> [Place] {
        state.withLock { state in
            let round = Array(state.gathered.prefix(most))
            state.gathered.removeFirst(round.count)
            return round
        }
    }

    private func finish(_ round: [Place], _ answers: [Answer]) {
        precondition(round.count == answers.count, "a round needs an answer for each piece of work")
        // Woken after the lock is free; the next leader first.
        let sleepers = state.withLock { state in
            let next = state.gathered.first { $0.sleeper != nil }
            next?.isToLead = true
            state.isBusy = next != nil
            var sleepers = next?.sleeper.map { [$0] } ?? []
            for (place, answer) in zip(round, answers) {
                place.answer = answer
                if let sleeper = place.sleeper { sleepers.append(sleeper) }
            }
            return sleepers
        }
        for sleeper in sleepers { threads_shim_wake(sleeper) }
    }
}
