import Foundation
import Logging
import OpenAI
import Postgres
import Tenancy
import Threads

/// Writes when keys were last used: off the requests' path, many keys at once, each at most once in 60 s.
final class KeyUses: Sendable {
    private struct State {
        /// Used since the last write.
        var pending: Set<ID<APIKey>> = []
        /// Written lately; emptied once in 60 s.
        var written: Set<ID<APIKey>> = []
        var forgetAt = ContinuousClock.now
        var isStopping = false
        var isStopped = false
    }

    private let database: SystemDatabase
    private let logger: Logger
    private let state = Monitor(State())

    private static let interval: TimeInterval = 5
    private static let quietTime: Duration = .seconds(60)

    init(database: SystemDatabase, logger: Logger) {
        self.database = database
        self.logger = logger
    }

    func note(_ key: ID<APIKey>) {
        state.withLock { state in
            if !state.written.contains(key) { state.pending.insert(key) }
        }
    }

    func start() {
        startThread("key-uses") {
            while !self.state.withLock({ $0.isStopping }) {
                self.state.wait(atMost: Self.interval, while: { !$0.isStopping }, then: { _ in })
                self.write()
            }
            self.state.change { $0.isStopped = true }
        }
    }

    /// Returns after the last write.
    func stop() {
        state.change { $0.isStopping = true }
        state.wait(while: { !$0.isStopped }, then: { _ in })
    }

    private func write() {
        let keys = state.withLock { state in
            if ContinuousClock.now >= state.forgetAt {
                state.written = []
                state.forgetAt = .now + Self.quietTime
            }
            defer { state.pending = [] }
            return state.pending
        }
        guard !keys.isEmpty else { return }
        do {
            try database.withConnection { try $0.touch(keys: Array(keys)) }
            state.withLock { $0.written.formUnion(keys) }
        } catch {
            // The next use notes the key again; nothing but a time of display is late.
            logger.warning("cannot write last_used_at", metadata: ["error": "\(error)"])
        }
    }
}
