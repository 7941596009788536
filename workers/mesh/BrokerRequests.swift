import Agents
import Mesh
import Routing
import ZeroMQ

/// Requests: the choice of a worker, the way of their frames, and what happens when a worker fails (05 §1-6).
extension Broker {
    private static let acceptTime = 2.0
    /// A worker that said it is busy is asked again after this, unless it said longer.
    private static let busyPause = 0.05

    func route(_ message: Message, _ route: RouteRequest, from gateway: GatewayConnection, at now: Instant) throws {
        guard case .inference(_, let model, _) = route.dispatch.work, requests[message.id] == nil, gateway.requestID == nil else { return }
        let request = MeshRequest(message, route, ModelVersion(id: model.id, version: model.version), from: gateway, in: region, at: now)
        requests[request.id] = request
        gateway.requestID = request.id
        pools[request.pool, default: Pool()].shares.add(0, of: request.routing.project, at: now)
        // Who waits already is first.
        if pools[request.pool]!.queue.count > 0 {
            try wait(request, at: now)
            try startWaiting(in: request.pool, at: now)
        } else {
            try start(request, at: now)
        }
    }

    private func choose(_ request: MeshRequest, at now: Instant) -> Choice {
        let began = ContinuousClock.now
        let entitlement = pools[request.pool, default: Pool()].shares.entitlement(of: request.routing.project, at: now)
        let choice = chooser.choose(
            for: request.routing, among: workers.all, index: index, entitlement: entitlement, at: now, using: &generator)
        let took = (ContinuousClock.now - began) / .seconds(1)
        request.decisionTime += took
        return choice
    }

    /// Sends it to a worker, lets it wait for one, or refuses it.
    func start(_ request: MeshRequest, at now: Instant) throws {
        while true {
            switch choose(request, at: now) {
            case .worker(let decision):
                if try dispatch(request, decision, at: now) { return }
                request.routing.triedWorkers.insert(workers.all[decision.chosen].id)
            case .wait: return try wait(request, at: now)
            case .noWorker: return try fail(request, "no_worker_available")
            }
        }
    }

    private func wait(_ request: MeshRequest, at now: Instant) throws {
        let places = workers.all.reduce(0) {
            $0 + ($1.models[request.pool.model] != nil && $1.tiers.contains(request.pool.tier) ? sessions[$1.id]?.capacity ?? 0 : 0)
        }
        let item = RequestQueue<String>.Item(
            project: request.routing.project, priority: request.route.dispatch.priority + request.routing.profile.priority,
            tokens: request.tokens, needs: request.needs, arrival: request.arrival, deadline: request.queueEnd, value: request.id)
        if let displaced = pools[request.pool, default: Pool()].queue.makeRoom(for: item.project, places: places),
            let other = requests[displaced.value]
        {
            try fail(other, "capacity_exceeded")
        }
        guard let ticket = pools[request.pool, default: Pool()].queue.add(item, places: places) else {
            return try fail(request, "capacity_exceeded")
        }
        request.state = .waiting(ticket)
        timed.insert(request.id)
    }

    func startWaiting(at now: Instant) throws {
        for pool in pools.keys where pools[pool]!.queue.count > 0 { try startWaiting(in: pool, at: now) }
    }

    /// Gives free places to those that wait for them.
    private func startWaiting(in pool: PoolName, at now: Instant) throws {
        while pools[pool]!.queue.count > 0 {
            var decisions: [String: Decision] = [:]
            var queue = pools[pool]!.queue
            // The copy alone is changed: the pool must not hold another.
            pools[pool]!.queue = RequestQueue()
            let shares = pools[pool]!.shares
            let item = queue.next(at: now, standing: { shares.entitlement(of: $0, at: now).standing }) { item in
                guard let request = requests[item.value], case .worker(let decision) = choose(request, at: now) else { return false }
                decisions[item.value] = decision
                return true
            }
            pools[pool]!.queue = queue
            guard let item, let request = requests[item.value], let decision = decisions[item.value] else { return }
            request.state = .arrived
            timed.remove(request.id)
            if try !dispatch(request, decision, at: now) { try start(request, at: now) }
        }
    }

    /// - Returns: false where the worker cannot be reached.
    private func dispatch(_ request: MeshRequest, _ decision: Decision, at now: Instant) throws -> Bool {
        let worker = workers.all[decision.chosen].id
        guard let session = sessions[worker] else { return false }
        request.attempt += 1
        request.order.begin(attempt: request.attempt)
        (request.sequence, request.unackedChunks, request.unackedBytes, request.hasBegun) = (1, 0, 0, false)
        request.window = StreamWindow(places: session.places)
        var dispatch = request.route.dispatch
        dispatch.deadline = max(0, Int((request.deadline - now) * 1_000))
        dispatch.credit = request.window.chunks
        let message = Message(id: request.id, attempt: request.attempt, sequence: 0, time: Self.wallClock, .dispatch(dispatch))
        switch try send(message, to: session.name) {
        case .sent: break
        case .noPeer:
            try forget(worker, because: "its connection is lost")
            return false
        case .full:
            metrics.count("mesh_unsent_total")
            return false
        }
        request.queueTime += request.attempt == 1 ? now - request.arrival : 0
        request.dispatchedAt = now
        request.acceptEnd = now + Self.acceptTime
        request.state = .running(worker: worker)
        timed.insert(request.id)
        workers.change(worker) { $0.began(project: request.routing.project, tokens: request.tokens) }
        pools[request.pool]?.shares.add(request.tokens, of: request.routing.project, at: now)
        if let slot = workers[worker]?.slot, !request.routing.prefix.isEmpty {
            request.expectedBlocks = index.matches(of: request.routing.prefix, at: [slot], at: now)[slot]?.blocks ?? 0
        }
        if decision.draw.isExploration { metrics.count("router_explored_total") }
        metrics.histogram("router_decision_seconds").add(seconds: request.decisionTime)
        decisions.add(
            RoutingDecision(decision, among: workers.all, for: request, at: Double(Self.wallClock) / 1_000),
            candidates: decision.candidates.count)
        let routed = Routed(
            workerID: worker, attempts: request.faults + 1, queueTime: Int(request.queueTime * 1e6),
            decisionTime: Int(request.decisionTime * 1e6), credit: request.window.chunks,
            score: min(1, decision.candidates[decision.draw.place].score),
            isExploration: decision.draw.isExploration)
        gateways.prepare(
            Message(id: request.id, attempt: request.attempt, sequence: 0, time: Self.wallClock, .routed(routed)), to: request.gateway)
        return true
    }

    /// A frame of a request by the worker that has it.
    func take(_ message: Message, _ parts: ArraySlice<ZeroMQPart>, from worker: String, at now: Instant) throws {
        guard let request = requests[message.id], case .running(worker) = request.state else { return }
        switch request.order.judge(attempt: message.attempt, sequence: message.sequence) {
        case .late: return
        case .broken:
            metrics.count("mesh_broken_total")
            return try failAttempt(request, "upstream_error", at: now)
        case .next: break
        }
        switch message.frame {
        case .accept:
            isAccepted(request)
            // The first frame may take its time, and who has the request can be told until then.
            gateways.hasMore(request.gateway)
        case .chunk(let chunk):
            isAccepted(request)
            request.unackedChunks += 1
            request.unackedBytes += chunk.content.count
            // Who sends more than it has credits for would fill the memory of others.
            guard request.unackedChunks <= request.window.chunks && request.unackedBytes <= request.window.bytes else {
                return try failAttempt(request, "upstream_invalid_response", at: now)
            }
            if !request.hasBegun {
                request.hasBegun = true
                if let slot = workers[worker]?.slot, !request.routing.prefix.isEmpty {
                    index.insert(request.routing.prefix, at: slot, at: now)
                }
            }
            gateways.relay(parts, to: request.gateway)
        case .done(let done):
            gateways.relay(parts, to: request.gateway)
            correctIndex(done, request, at: worker)
            try finish(request, on: worker, .answered(timings(done, request, at: now)), code: "ok", at: now)
        case .error(let failure) where failure.fault == .client:
            gateways.relay(parts, to: request.gateway)
            try finish(request, on: worker, .noNews, code: "client", at: now)
        case .error(let failure): try failAttempt(request, failure.code, at: now)
        case .reject(let reject): try take(reject, request, from: worker, at: now)
        default: break
        }
    }

    /// Its agent has it: it said so, or answers.
    private func isAccepted(_ request: MeshRequest) {
        guard request.acceptEnd != nil else { return }
        request.acceptEnd = nil
        timed.remove(request.id)
    }

    private func take(_ reject: Reject, _ request: MeshRequest, from worker: String, at now: Instant) throws {
        leave(request, worker, .noNews, at: now)
        metrics.count("router_rejects_total", #"code="\#(reject.code.rawValue)""#)
        switch reject.code {
        case .busy:
            // The agent is the judge of its capacity: other routers may have filled it.
            workers.change(worker) { $0.maxConcurrent = $0.inFlight }
            busy[worker] = now + max(Self.busyPause, Double(reject.retryMilliseconds) / 1_000)
        case .draining: workers.change(worker) { $0.state = .draining }
        case .notLoaded:
            workers.change(worker) { $0.models[request.pool.model]?.state = .onDisk }
            request.routing.unloadedWorkers.insert(worker)
        case .badRequest, .unsupported:
            return try fail(request, reject.fault == .client ? "invalid_request" : "upstream_error")
        }
        request.state = .arrived
        guard request.mayTryAgain else { return try fail(request, "capacity_exceeded") }
        try start(request, at: now)
    }

    /// An engine that found far less in its cache than was expected has lost it.
    private func correctIndex(_ done: Done, _ request: MeshRequest, at worker: String) {
        guard request.expectedBlocks > 0, let cached = done.cachedTokens, let slot = workers[worker]?.slot else { return }
        let promptTokens = done.usage?.promptTokens ?? request.route.promptTokens
        index.correct(
            request.routing.prefix[..<request.expectedBlocks],
            expectedTokens: promptTokens * request.expectedBlocks / request.routing.prefix.count, cachedTokens: cached, at: slot)
    }

    private func timings(_ done: Done, _ request: MeshRequest, at now: Instant) -> AnswerTimings {
        AnswerTimings(
            total: (now - request.dispatchedAt) * 1_000, queue: done.timings?.queue ?? 0, prefill: done.timings?.prefill ?? 0,
            decode: done.timings?.decode ?? 0, promptTokens: done.usage?.promptTokens ?? request.route.promptTokens,
            cachedTokens: done.cachedTokens ?? 0, outputTokens: done.usage?.completionTokens ?? 0)
    }

    /// The worker has one less.
    private func leave(_ request: MeshRequest, _ worker: String, _ outcome: Worker.Outcome, at now: Instant) {
        timed.remove(request.id)
        request.acceptEnd = nil
        workers.change(worker) {
            $0.ended(project: request.routing.project, tokens: request.tokens, model: request.pool.model, outcome, at: now)
        }
    }

    private func finish(_ request: MeshRequest, on worker: String, _ outcome: Worker.Outcome, code: String, at now: Instant) throws {
        leave(request, worker, outcome, at: now)
        remove(request)
        metrics.count("router_requests_total", #"code="\#(code)""#)
        try startWaiting(at: now)
    }

    /// The worker has failed it: another one is tried, or the request ends.
    func failAttempt(_ request: MeshRequest, _ code: String, at now: Instant) throws {
        guard case .running(let worker) = request.state else { return }
        try sendToAgent(.cancel(Cancel(reason: .failover)), of: request)
        leave(request, worker, .agentFault, at: now)
        request.faults += 1
        request.lastFailure = Self.known.contains(code) ? code : "upstream_error"
        request.routing.triedWorkers.insert(worker)
        request.state = .arrived
        if request.route.isStream && request.hasBegun { return try fail(request, "stream_interrupted") }
        guard request.mayTryAgain else { return try fail(request, request.lastFailure) }
        metrics.count("router_failovers_total")
        let pause = 0.1 * Double(1 << (request.faults - 1)) * Double.random(in: 0.8...1.2, using: &generator) * timeScale
        request.state = .pausing(until: now + pause)
        timed.insert(request.id)
        try startWaiting(at: now)
    }

    /// What an agent may say of its failure; clients see it in our words.
    private static let known: Set<String> = [
        "upstream_error", "upstream_timeout", "upstream_invalid_response", "capacity_exceeded", "no_worker_available",
    ]

    /// The last frame of a request that no worker answers any more.
    func fail(_ request: MeshRequest, _ code: String) throws {
        if case .running(let worker) = request.state {
            try sendToAgent(.cancel(Cancel(reason: .shutdown)), of: request)
            leave(request, worker, .noNews, at: Self.now)
        }
        if case .waiting(let ticket) = request.state { _ = pools[request.pool]?.queue.remove(ticket) }
        remove(request)
        metrics.count("router_requests_total", #"code="\#(code)""#)
        let failure = Failure(code: code, fault: .agent, message: "")
        gateways.send(
            Message(id: request.id, attempt: request.attempt, sequence: 0, time: Self.wallClock, .error(failure)), to: request.gateway)
    }

    /// The gateway wants it no more.
    func end(_ id: String, _ cancel: Cancel) throws {
        guard let request = requests[id] else { return }
        switch request.state {
        case .running(let worker):
            try sendToAgent(.cancel(cancel), of: request)
            return try finish(request, on: worker, .noNews, code: "cancelled", at: Self.now)
        case .waiting(let ticket): _ = pools[request.pool]?.queue.remove(ticket)
        case .arrived, .pausing: break
        }
        remove(request)
        metrics.count("router_requests_total", #"code="cancelled""#)
    }

    private func remove(_ request: MeshRequest) {
        timed.remove(request.id)
        requests[request.id] = nil
        request.gateway.requestID = nil
    }

    func pass(_ credit: Credit, to id: String) throws {
        guard let request = requests[id], case .running = request.state else { return }
        request.unackedChunks = max(0, request.unackedChunks - credit.chunks)
        request.unackedBytes = max(0, request.unackedBytes - credit.bytes)
        try sendToAgent(.credit(credit), of: request)
    }

    private func sendToAgent(_ frame: Frame, of request: MeshRequest) throws {
        guard case .running(let worker) = request.state, let session = sessions[worker] else { return }
        let message = Message(id: request.id, attempt: request.attempt, sequence: request.sequence, time: Self.wallClock, frame)
        request.sequence += 1
        if try send(message, to: session.name) != .sent { metrics.count("mesh_unsent_total") }
    }

    /// What has come due.
    func lookAtRequests(at now: Instant) throws {
        for (worker, end) in busy where now >= end {
            busy[worker] = nil
            workers.change(worker) { $0.maxConcurrent = sessions[worker]?.capacity ?? 0 }
            try startWaiting(at: now)
        }
        for id in timed {
            guard let request = requests[id] else {
                timed.remove(id)
                continue
            }
            switch request.state {
            case .running:
                if let end = request.acceptEnd, now >= end { try failAttempt(request, "upstream_timeout", at: now) }
            case .pausing(let end) where now >= end:
                request.state = .arrived
                timed.remove(id)
                try start(request, at: now)
            case .waiting where now >= request.queueEnd: try fail(request, "capacity_exceeded")
            default: break
            }
        }
    }
}

extension MeshRequest {
    private var contextMagnitude: Int { routing.contextNeed < 2_048 ? 0 : Int.bitWidth - routing.contextNeed.leadingZeroBitCount }

    /// Requests of a project with equal needs can go to the same workers. Of contexts the magnitude counts, and none that all have.
    var needs: String {
        guard
            route.regions != nil || route.agents != nil || !routing.features.isEmpty || !routing.triedWorkers.isEmpty
                || !routing.unloadedWorkers.isEmpty || !routing.allowsSharedFallback || contextMagnitude > 0
        else { return "" }
        return "\(route.regions?.sorted() ?? ["any"]) \(route.agents?.sorted() ?? ["any"]) \(routing.allowsSharedFallback) "
            + "\(routing.features.rawValue) \(contextMagnitude) \(routing.triedWorkers.sorted()) \(routing.unloadedWorkers.sorted())"
    }
}
