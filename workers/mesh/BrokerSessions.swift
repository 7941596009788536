import Agents
import Crypto
import Mesh
import Routing

/// Sessions: who comes, what they say of themselves, and who goes.
extension Broker {
    private static let heartbeatMilliseconds = 10_000.0

    func begin(_ hello: Hello, as name: AgentName) throws {
        let worker = name.workerID
        guard hello.workerID == worker, worker.hasSuffix(":\(hello.agentID)"), let standing = directory.standing(of: worker) else {
            metrics.count("mesh_refused_total", #"reason="name""#)
            return
        }
        let now = Self.now
        if let before = sessions[worker], before.name != name {
            try say(.bye(Bye(reason: .replaced)), to: worker)
            try forget(worker, because: "another start of it has come")
        }
        let lease = Lease(Lease.Limits(timeScale: timeScale), at: now)
        let slot = workers.add(worker) { slot in
            Worker(
                id: worker, slot: slot, project: standing.project, region: standing.region, tiers: standing.tiers, leaseUntil: lease.end,
                maxConcurrent: 0)
        }
        index.begin(slot: slot, sequence: UInt64(hello.kvSequence))
        sessions[worker] = Session(hello, as: name, lease: lease)
        heard[hello.agentID] = .some(nil)
        workers.change(worker) {
            $0.state = .active
            $0.leaseUntil = lease.end
            $0.isSuspect = false
            $0.lastHeartbeat = now
            $0.load = Worker.Load()
        }
        take(standing)
        take(hello.models, of: worker)
        logger.notice("agent is there", metadata: ["worker": "\(worker)", "version": "\(hello.version)"])
        // What only one side knows of is over.
        let known = Set(hello.inFlight)
        for request in running(on: worker) where !known.contains(request.id) { try failAttempt(request, "upstream_error", at: now) }
        let ours = Set(running(on: worker).map(\.id))
        let welcome = Welcome(
            session: "ses_" + Base64URL.encode(Random.bytes(12)), leaseSeconds: max(1, Int(Self.leaseSeconds * timeScale)),
            heartbeatMilliseconds: max(1, Int(Self.heartbeatMilliseconds * timeScale)),
            creditWindow: max(8, StreamWindow(places: hello.maxConcurrent).chunks),
            cancel: hello.inFlight.filter { !ours.contains($0) }, assignments: [], routerAddresses: routerAddresses)
        try say(.welcome(welcome), to: worker)
        try startWaiting(at: now)
    }

    func take(_ heartbeat: Heartbeat, of worker: String, _ session: Session, at now: Instant) throws {
        heard[session.agentID] = AgentReport(
            inFlight: heartbeat.inFlight, models: heartbeat.models, accelerators: session.accelerators)
        workers.change(worker) {
            $0.lastHeartbeat = now
            $0.load = Worker.Load(kvUsed: heartbeat.kvUsed, waiting: heartbeat.waiting, running: heartbeat.running)
        }
        take(heartbeat.models, of: worker)
        try say(.leaseAck(leaseAck), to: worker)
        try startWaiting(at: now)
    }

    /// What the database says of an agent, now or anew.
    func take(_ standing: AgentStanding) {
        let worker = standing.workerID
        let session = sessions[worker]
        if let session {
            // The agent is the judge; its owner may want less.
            session.capacity = standing.maxConcurrent > 0 ? min(session.places, standing.maxConcurrent) : session.places
        }
        workers.change(worker) {
            $0.project = standing.project
            $0.region = standing.region
            $0.tiers = standing.tiers
            $0.state =
                switch standing.state {
                case .active: session?.isLeaving == true ? .draining : .active
                case .suspended: .suspended
                case .draining, .removed, .revoked: .draining
                }
            if busy[worker] == nil { $0.maxConcurrent = session?.capacity ?? 0 }
        }
    }

    private func take(_ reports: [ModelReport], of worker: String) {
        workers.change(worker) { worker in
            var models = WorkerModels()
            for report in reports {
                guard let state = ModelState(report.state) else { continue }
                let version = ModelVersion(id: report.modelID, version: report.version)
                var model = Worker.Model(
                    state: state, tasks: .all, contextLength: report.facts.contextLength ?? .max, features: Features(report.facts))
                if let known = worker.models[version] { model.history = known.history }
                models[version] = model
            }
            worker.models = models
        }
    }

    func running(on worker: String) -> [MeshRequest] {
        requests.values.filter {
            if case .running(worker) = $0.state { return true }
            return false
        }
    }

    /// Ends a session; what ran there goes elsewhere, or ends.
    func forget(_ worker: String, because reason: String) throws {
        guard sessions.removeValue(forKey: worker) != nil else { return }
        workers.change(worker) { $0.leaseUntil = -.infinity }
        logger.notice("agent is gone", metadata: ["worker": "\(worker)", "reason": "\(reason)"])
        for request in running(on: worker) { try failAttempt(request, "upstream_error", at: Self.now) }
    }
}

extension ModelState {
    /// nil = the model is not there.
    init?(_ phase: ModelPhase) {
        switch phase {
        case .ready: self = .loaded
        case .loading, .unloading: self = .onDisk
        case .assigned, .downloading, .verifying: self = .fits
        case .gone, .failed: return nil
        }
    }
}

extension Features {
    /// What an agent does not say that it lacks, it has.
    init(_ facts: ModelFacts) { self = facts.readsImages == false ? [.tools, .guidedDecoding] : .all }
}
