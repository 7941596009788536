import Crypto
import Dispatch
import Logging
import OpenAI
import Postgres
import Tenancy
import Threads

/// Makes requests that carry an `Idempotency-Key` happen once (04 §9). The keys stand in Postgres, so it works across gateways and restarts.
///
/// A request takes its key before it does anything, and its answer is stored in the transaction of what it does. Until then it holds a lease,
/// which a thread of this process renews; the key of a process that died can be taken over when its lease has ended.
public final class Idempotency: Sendable {
    public struct Options: Sendable {
        /// How long a request that nobody renews counts as running, in seconds.
        public var leaseSeconds = 60.0
        /// How long keys are remembered, in seconds.
        public var keptSeconds = 86_400.0
        public init() {}
    }

    private struct State {
        /// By the request that holds the key.
        var held: [String: IdempotencyKey] = [:]
        var isStopping = false
    }

    private let tenants: TenantDatabase
    private let system: SystemDatabase
    private let sealing: Sealing
    private let options: Options
    private let largeAnswers: (any LargeAnswers)?
    private let logger: Logger
    private let state = Monitor(State())
    private let ended = DispatchSemaphore(value: 0)

    static let kind = "idempotent-answer"

    /// Starts the thread that renews leases.
    /// - Parameter largeAnswers: nil = answers of every size are in rows.
    public init(
        tenants: TenantDatabase, system: SystemDatabase, sealing: Sealing, options: Options = Options(),
        largeAnswers: (any LargeAnswers)? = nil, logger: Logger
    ) {
        self.largeAnswers = largeAnswers
        self.tenants = tenants
        self.system = system
        self.sealing = sealing
        self.options = options
        self.logger = logger
        startThread("idempotency") {
            self.renewUntilStopped()
            self.ended.signal()
        }
    }

    /// Ends the thread and waits for it. It may be called once.
    public func shutdown() {
        state.change { $0.isStopping = true }
        ended.wait()
    }

    enum Start {
        case run(IdempotencyClaim)
        case replay(Response)
    }

    /// Takes the key for a request, or finds what the request was answered before. One round trip.
    /// - Throws: `APIError` 409 while it runs, or when the key came with another body; 503 when Postgres is away.
    func start(_ key: IdempotencyKey, _ request: String) throws -> Start {
        // Before anything is done: what cannot be sealed cannot be stored later.
        let sealer = try sealing.sealer(of: key.project.description)
        switch try claim(key, request) {
        case .claimed:
            state.withLock { $0.held[request] = key }
            return .run(IdempotencyClaim(key, request, sealer, of: self))
        case .running: throw Self.inProgress
        case .conflict:
            throw APIError(
                .idempotencyConflict, "The Idempotency-Key was used with another body before.", param: IdempotencyKey.header)
        case .answered(let status, let sealed, let owner):
            var bytes = try sealing.open(project: key.project.description, kind: Self.kind, object: key.scope, sealed)
            if let request = LargeAnswerReference.decode(bytes) {
                guard let largeAnswers else { throw SealingError.cannotOpen }
                bytes = try largeAnswers.answer(of: request, for: key.project)
            }
            guard let response = StoredAnswer.decode(bytes, status: status, requestID: owner) else { throw SealingError.cannotOpen }
            return .replay(response)
        }
    }

    static let inProgress = APIError(
        .idempotencyInProgress, "A request with this Idempotency-Key still runs.", param: IdempotencyKey.header, retryAfter: 1)

    private func claim(_ key: IdempotencyKey, _ request: String) throws -> IdempotencyState {
        do {
            return try tenants.withConnection(of: key.project) {
                try $0.claim(key, for: request, lease: options.leaseSeconds, kept: options.keptSeconds)
            }
        } catch let error as PostgresError where error.isOutcomeUnknown {
            giveBack(key, request)
            throw error
        }
    }

    /// What is to stand in the key's row for this answer. Where the store does not take a large one, the row does.
    func forRow(_ answer: [UInt8], _ key: IdempotencyKey, _ request: String) -> [UInt8] {
        guard let largeAnswers, answer.count > LargeAnswerReference.largestInRow else { return answer }
        do {
            try largeAnswers.keep(answer, of: request, for: key.project)
            return LargeAnswerReference.encode(request)
        } catch {
            logger.notice("a large answer stays in its row", metadata: ["request_id": "\(request)", "error": "\(error)"])
            return answer
        }
    }

    /// A large answer goes to its row at once, so that batches of the committer stay small.
    func prepare(_ key: IdempotencyKey, _ request: String, _ sealed: [UInt8]) throws -> Bool {
        try tenants.withConnection(of: key.project) { try $0.prepare(key, of: request, sealed) }
    }

    /// Stores an answer that nothing was done for.
    func complete(_ key: IdempotencyKey, _ request: String, status: Int, _ sealed: [UInt8]) throws {
        try tenants.withConnection(of: key.project) { _ = try $0.query(key.complete(request, status: status, sealed)) }
    }

    /// What cannot be given back now comes back with the end of its lease.
    func giveBack(_ key: IdempotencyKey, _ request: String) {
        do {
            try tenants.withConnection(of: key.project) { try $0.release(key, of: request) }
        } catch {
            logger.warning("an idempotency key was not given back", metadata: ["request_id": "\(request)", "error": "\(error)"])
        }
    }

    func forget(_ request: String) { state.withLock { _ = $0.held.removeValue(forKey: request) } }

    func note(_ error: any Error, _ request: String) {
        logger.error("an answer was not stored for replays", metadata: ["request_id": "\(request)", "error": "\(error)"])
    }

    // MARK: the renewing thread

    private func renewUntilStopped() {
        while true {
            // Three times in a lease: one may fail, and another find the row locked.
            let held = state.wait(atMost: options.leaseSeconds / 3, while: { !$0.isStopping }) { $0.isStopping ? nil : $0.held }
            guard let held else { return }
            guard !held.isEmpty else { continue }
            do {
                try system.withConnection { try $0.renew(held.map { (key: $1, request: $0) }, lease: options.leaseSeconds) }
            } catch {
                logger.warning("leases of idempotency keys were not renewed", metadata: ["keys": "\(held.count)", "error": "\(error)"])
            }
        }
    }
}
