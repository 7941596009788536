/// Why a worker cannot have a request (05 §2). The first that holds is told, so that `explain` is the same each time.
public enum Obstacle: String, Sendable, CaseIterable {
    case anotherProject = "another_project"
    case tier, model, task, region, placement, context, features
    case notActive = "not_active"
    case leaseExpired = "lease_expired"
    case suspect
    case circuitOpen = "circuit_open"
    case full
    /// A private worker of the project can have it.
    case privateFirst = "private_first"
    /// It is shared; the project has private ones for this, which cannot have it now, and the endpoint wants no others.
    case noSharedFallback = "no_shared_fallback"
    /// It has failed this request, and another can have it.
    case alreadyTried = "already_tried"
}

extension RoutingRequest {
    /// What keeps the request from the worker, judged by these two alone.
    func obstacle(to worker: UnsafePointer<Worker>, at now: Instant) -> Obstacle? {
        if let owner = worker.pointee.project, owner != project { return .anotherProject }
        if worker.pointee.state != .active { return .notActive }
        if worker.pointee.leaseUntil <= now { return .leaseExpired }
        if worker.pointee.isSuspect { return .suspect }
        if !worker.pointee.tiers.contains(tier) { return .tier }
        guard let place = worker.pointee.models.place(of: model) else { return .model }
        if worker.pointee.models.models[place].state != .loaded, unloadedWorkers.contains(worker.pointee.id) { return .model }
        if !worker.pointee.models.models[place].tasks.contains(TaskModes(task)) { return .task }
        if let regions, !regions.contains(worker.pointee.region) { return .region }
        if let agents, !agents.contains(worker.pointee.agent) { return .placement }
        if worker.pointee.models.models[place].contextLength < contextNeed { return .context }
        if !worker.pointee.models.models[place].features.isSuperset(of: features) { return .features }
        if !worker.pointee.breaker.allows(at: now) { return .circuitOpen }
        if worker.pointee.inFlight >= worker.pointee.maxConcurrent { return .full }
        return nil
    }
}

extension RoutingRequest {
    /// The worker is there for such requests, whatever its state is now.
    fileprivate func isServed(by worker: UnsafePointer<Worker>) -> Bool {
        worker.pointee.tiers.contains(tier) && worker.pointee.models.place(of: model) != nil
    }
}

/// Which workers can have a request.
struct Eligibility {
    /// For each worker in its order; nil = it can.
    private(set) var obstacles: [Obstacle?]
    /// Places of those that can.
    private(set) var eligible: [Int] = []

    init(of workers: UnsafeBufferPointer<Worker>, for request: RoutingRequest, at now: Instant) {
        obstacles = []
        obstacles.reserveCapacity(workers.count)
        var hasPrivate = false
        var knowsPrivate = false
        for place in workers.indices {
            let obstacle = request.obstacle(to: workers.baseAddress! + place, at: now)
            obstacles.append(obstacle)
            if !request.allowsSharedFallback, !knowsPrivate, workers[place].project == request.project {
                knowsPrivate = request.isServed(by: workers.baseAddress! + place)
            }
            if obstacle == nil {
                eligible.append(place)
                if workers[place].project != nil { hasPrivate = true }
            }
        }
        if hasPrivate {
            exclude(.privateFirst) { workers[$0].project == nil }
        } else if knowsPrivate {
            exclude(.noSharedFallback) { workers[$0].project == nil }
        }
        if !request.triedWorkers.isEmpty, eligible.contains(where: { !request.triedWorkers.contains(workers[$0].id) }) {
            exclude(.alreadyTried) { request.triedWorkers.contains(workers[$0].id) }
        }
    }

    private mutating func exclude(_ obstacle: Obstacle, where isExcluded: (Int) -> Bool) {
        eligible.removeAll {
            guard isExcluded($0) else { return false }
            obstacles[$0] = obstacle
            return true
        }
    }
}
