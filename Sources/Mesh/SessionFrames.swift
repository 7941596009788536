import MessagePack

/// The first frame of an agent on each connection: who it is and what it has.
public struct Hello: FrameFields, CustomReflectable {
    public enum Role: String, Sendable, CaseIterable { case inference, execution }

    public var agentID: String
    public var workerID: String
    /// Of the agent's program.
    public var version: String
    public var role: Role
    public var token: String
    public var accelerators: [Accelerator]
    /// 0 = as many as its engine has places.
    public var maxConcurrent: Int
    public var models: [ModelReport]
    /// Requests that it still works on; what the router does not know is cancelled, what is missing has failed.
    public var inFlight: [String]
    /// Number of its last `kv_event`.
    public var kvSequence: Int

    public init(
        agentID: String, workerID: String, version: String, role: Role, token: String, accelerators: [Accelerator], maxConcurrent: Int,
        models: [ModelReport], inFlight: [String], kvSequence: Int
    ) {
        self.agentID = agentID
        self.workerID = workerID
        self.version = version
        self.role = role
        self.token = token
        self.accelerators = accelerators
        self.maxConcurrent = maxConcurrent
        self.models = models
        self.inFlight = inFlight
        self.kvSequence = kvSequence
    }

    init(_ fields: FieldReader) throws(FrameError) {
        agentID = try fields.text("agent_id")
        workerID = try fields.text("worker_id")
        version = try fields.text("version")
        role = try fields.choice("role")
        token = try fields.text("token", atMost: FieldReader.textLength)
        accelerators = try fields.items("accelerators", atMost: Accelerator.most)
        maxConcurrent = try fields.integer("max_concurrent", 0...4_096)
        models = try fields.items("models")
        inFlight = try fields.ids("in_flight")
        kvSequence = try fields.integer("kv_seq")
    }

    func write(to map: inout MessagePackMap) {
        map.add("agent_id", agentID)
        map.add("worker_id", workerID)
        map.add("version", version)
        map.add("role", role.rawValue)
        map.add("token", token)
        map.add("accelerators", accelerators)
        map.add("max_concurrent", maxConcurrent)
        map.add("models", models)
        map.add("in_flight", inFlight)
        map.add("kv_seq", kvSequence)
    }

    /// Without the token.
    public var customMirror: Mirror { Mirror(self, children: ["agentID": agentID, "workerID": workerID, "version": version]) }
}

/// A device that models run on.
public struct Accelerator: FrameFields, Codable {
    /// Of one agent.
    public static let most = 64

    public var kind: String
    public var name: String
    public var memoryBytes: Int
    public var index: Int
    public var driver: String?

    public init(kind: String, name: String, memoryBytes: Int, index: Int, driver: String? = nil) {
        self.kind = kind
        self.name = name
        self.memoryBytes = memoryBytes
        self.index = index
        self.driver = driver
    }

    init(_ fields: FieldReader) throws(FrameError) {
        kind = try fields.text("kind", atMost: 64)
        name = try fields.text("name", atMost: 128)
        memoryBytes = try fields.integer("memory_bytes")
        index = try fields.integer("index", 0...1_023)
        driver = try fields.optionalText("driver", atMost: 64)
    }

    func write(to map: inout MessagePackMap) {
        map.add("kind", kind)
        map.add("name", name)
        map.add("memory_bytes", memoryBytes)
        map.add("index", index)
        map.add("driver", driver)
    }

    private enum CodingKeys: String, CodingKey {
        case kind, name, index, driver
        case memoryBytes = "memory_bytes"
    }
}

/// A model on an agent. As JSON it is one object, with what is said of the model beside its name.
public struct ModelReport: FrameFields, Codable {
    public var modelID: String
    public var version: String
    public var state: ModelPhase
    /// Whose server it is on, and what that says of the model.
    public var facts: ModelFacts

    public init(modelID: String, version: String, state: ModelPhase, facts: ModelFacts = ModelFacts()) {
        self.modelID = modelID
        self.version = version
        self.state = state
        self.facts = facts
    }

    init(_ fields: FieldReader) throws(FrameError) {
        modelID = try fields.text("model_id")
        version = try fields.text("version")
        state = try fields.choice("state")
        facts = try ModelFacts(fields)
    }

    func write(to map: inout MessagePackMap) {
        map.add("model_id", modelID)
        map.add("version", version)
        map.add("state", state.rawValue)
        facts.write(to: &map)
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        modelID = try values.decode(String.self, forKey: .modelID)
        version = try values.decode(String.self, forKey: .version)
        state = try values.decode(ModelPhase.self, forKey: .state)
        facts = try ModelFacts(from: decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(modelID, forKey: .modelID)
        try values.encode(version, forKey: .version)
        try values.encode(state, forKey: .state)
        try facts.encode(to: encoder)
    }

    private enum CodingKeys: String, CodingKey {
        case version, state
        case modelID = "model_id"
    }
}

/// The router's answer to `hello`.
public struct Welcome: FrameFields {
    public var session: String
    public var leaseSeconds: Int
    public var heartbeatMilliseconds: Int
    public var creditWindow: Int
    /// Requests that are not wanted any more.
    public var cancel: [String]
    public var assignments: [ModelAssign]
    /// Where agents reach all routers; empty = it does not say.
    public var routerAddresses: [String]

    public init(
        session: String, leaseSeconds: Int, heartbeatMilliseconds: Int, creditWindow: Int, cancel: [String], assignments: [ModelAssign],
        routerAddresses: [String] = []
    ) {
        self.session = session
        self.leaseSeconds = leaseSeconds
        self.heartbeatMilliseconds = heartbeatMilliseconds
        self.creditWindow = creditWindow
        self.cancel = cancel
        self.assignments = assignments
        self.routerAddresses = routerAddresses
    }

    init(_ fields: FieldReader) throws(FrameError) {
        session = try fields.text("session")
        leaseSeconds = try fields.integer("lease_seconds", 1...86_400)
        heartbeatMilliseconds = try fields.integer("heartbeat_ms", 1...86_400_000)
        creditWindow = try fields.integer("credit_window", 8...1_024)
        cancel = try fields.ids("cancel")
        assignments = try fields.items("assignments")
        routerAddresses = fields.has("router_addrs") ? try fields.ids("router_addrs") : []
    }

    func write(to map: inout MessagePackMap) {
        map.add("session", session)
        map.add("lease_seconds", leaseSeconds)
        map.add("heartbeat_ms", heartbeatMilliseconds)
        map.add("credit_window", creditWindow)
        map.add("cancel", cancel)
        map.add("assignments", assignments)
        if !routerAddresses.isEmpty { map.add("router_addrs", routerAddresses) }
    }
}

/// How an inference agent is, each 10 s. What it cannot know is left out.
public struct Heartbeat: FrameFields {
    public var inFlight: Int
    public var waiting: Int?
    public var running: Int?
    /// Part of the KV cache in use.
    public var kvUsed: Double?
    public var kvBlocks: Int?
    public var tokensPerSecond: Double?
    public var prefillTokensPerSecond: Double?
    /// Bytes.
    public var memoryFree: Int?
    /// Bytes.
    public var diskFree: Int?
    /// Degrees Celsius of the hottest device.
    public var temperature: Double?
    public var models: [ModelReport]
    public var errorsInMinute: Int
    public var inFlightIDs: [String]

    public init(
        inFlight: Int, waiting: Int? = nil, running: Int? = nil, kvUsed: Double? = nil, kvBlocks: Int? = nil,
        tokensPerSecond: Double? = nil, prefillTokensPerSecond: Double? = nil, memoryFree: Int? = nil, diskFree: Int? = nil,
        temperature: Double? = nil, models: [ModelReport], errorsInMinute: Int, inFlightIDs: [String]
    ) {
        self.inFlight = inFlight
        self.waiting = waiting
        self.running = running
        self.kvUsed = kvUsed
        self.kvBlocks = kvBlocks
        self.tokensPerSecond = tokensPerSecond
        self.prefillTokensPerSecond = prefillTokensPerSecond
        self.memoryFree = memoryFree
        self.diskFree = diskFree
        self.temperature = temperature
        self.models = models
        self.errorsInMinute = errorsInMinute
        self.inFlightIDs = inFlightIDs
    }

    init(_ fields: FieldReader) throws(FrameError) {
        inFlight = try fields.integer("in_flight", 0...1_000_000)
        waiting = try fields.optionalInteger("waiting", 0...1_000_000)
        running = try fields.optionalInteger("running", 0...1_000_000)
        kvUsed = try fields.optionalNumber("kv_used", 0...1)
        kvBlocks = try fields.optionalInteger("kv_blocks")
        tokensPerSecond = try fields.optionalNumber("tps")
        prefillTokensPerSecond = try fields.optionalNumber("prefill_tps")
        memoryFree = try fields.optionalInteger("mem_free")
        diskFree = try fields.optionalInteger("disk_free")
        temperature = try fields.optionalNumber("temp_c", -100...1_000)
        models = try fields.items("models")
        errorsInMinute = try fields.integer("errors_1m")
        inFlightIDs = try fields.ids("in_flight_ids")
    }

    func write(to map: inout MessagePackMap) {
        map.add("in_flight", inFlight)
        map.add("waiting", waiting)
        map.add("running", running)
        map.add("kv_used", kvUsed)
        map.add("kv_blocks", kvBlocks)
        map.add("tps", tokensPerSecond)
        map.add("prefill_tps", prefillTokensPerSecond)
        map.add("mem_free", memoryFree)
        map.add("disk_free", diskFree)
        map.add("temp_c", temperature)
        map.add("models", models)
        map.add("errors_1m", errorsInMinute)
        map.add("in_flight_ids", inFlightIDs)
    }
}

/// A lease goes on.
public struct LeaseAck: FrameFields {
    /// Milliseconds of the router's clock.
    public var leaseUntil: Int
    public var resendManifest: Bool
    /// Results of executions that need not be sent again.
    public var resultsStored: [String]

    public init(leaseUntil: Int, resendManifest: Bool, resultsStored: [String]) {
        self.leaseUntil = leaseUntil
        self.resendManifest = resendManifest
        self.resultsStored = resultsStored
    }

    init(_ fields: FieldReader) throws(FrameError) {
        leaseUntil = try fields.integer("lease_until")
        resendManifest = try fields.flag("resend_manifest")
        resultsStored = try fields.ids("results_stored")
    }

    func write(to map: inout MessagePackMap) {
        map.add("lease_until", leaseUntil)
        map.add("resend_manifest", resendManifest)
        map.add("results_stored", resultsStored)
    }
}

/// An execution agent is there.
public struct LeaseRenewal: FrameFields {
    public var inFlightIDs: [String]
    public var refusedIDs: [String]
    public var manifestHash: String
    public var manifestVersion: Int
    public var manifest: MessagePackMap?

    public init(inFlightIDs: [String], refusedIDs: [String], manifestHash: String, manifestVersion: Int, manifest: MessagePackMap? = nil) {
        self.inFlightIDs = inFlightIDs
        self.refusedIDs = refusedIDs
        self.manifestHash = manifestHash
        self.manifestVersion = manifestVersion
        self.manifest = manifest
    }

    init(_ fields: FieldReader) throws(FrameError) {
        inFlightIDs = try fields.ids("in_flight_ids")
        refusedIDs = try fields.ids("refused_ids")
        manifestHash = try fields.text("manifest_hash")
        manifestVersion = try fields.integer("manifest_version")
        manifest = try fields.optionalMap("manifest")
    }

    func write(to map: inout MessagePackMap) {
        map.add("in_flight_ids", inFlightIDs)
        map.add("refused_ids", refusedIDs)
        map.add("manifest_hash", manifestHash)
        map.add("manifest_version", manifestVersion)
        if let manifest { map.add("manifest", manifest) }
    }
}

/// The sender takes or gives no more work; what runs may go on for so long.
public struct Drain: FrameFields {
    public var deadlineSeconds: Int

    public init(deadlineSeconds: Int) {
        self.deadlineSeconds = deadlineSeconds
    }

    init(_ fields: FieldReader) throws(FrameError) {
        deadlineSeconds = try fields.integer("deadline_s", 0...86_400)
    }

    func write(to map: inout MessagePackMap) {
        map.add("deadline_s", deadlineSeconds)
    }
}

/// The last frame of a session.
public struct Bye: FrameFields {
    public enum Reason: String, Sendable, CaseIterable { case shutdown, revoked, version, replaced }

    public var reason: Reason

    public init(reason: Reason) {
        self.reason = reason
    }

    init(_ fields: FieldReader) throws(FrameError) {
        reason = try fields.choice("reason")
    }

    func write(to map: inout MessagePackMap) {
        map.add("reason", reason.rawValue)
    }
}

/// No dispatches until `resume`.
public struct Pause: FrameFields {
    public var reason: String
    public var workspace: String?

    public init(reason: String, workspace: String? = nil) {
        self.reason = reason
        self.workspace = workspace
    }

    init(_ fields: FieldReader) throws(FrameError) {
        reason = try fields.text("reason", atMost: FieldReader.textLength)
        workspace = try fields.optionalText("workspace")
    }

    func write(to map: inout MessagePackMap) {
        map.add("reason", reason)
        map.add("workspace", workspace)
    }
}

/// Dispatches again.
public struct Resume: FrameFields {
    public var reason: String
    public var workspace: String?

    public init(reason: String, workspace: String? = nil) {
        self.reason = reason
        self.workspace = workspace
    }

    init(_ fields: FieldReader) throws(FrameError) {
        reason = try fields.text("reason", atMost: FieldReader.textLength)
        workspace = try fields.optionalText("workspace")
    }

    func write(to map: inout MessagePackMap) {
        map.add("reason", reason)
        map.add("workspace", workspace)
    }
}

/// The agent shall make a new curve key.
public struct CurveRotate: FrameFields {
    public var reason: String
    public var nonce: [UInt8]

    public init(reason: String, nonce: [UInt8]) {
        self.reason = reason
        self.nonce = nonce
    }

    init(_ fields: FieldReader) throws(FrameError) {
        reason = try fields.text("reason", atMost: FieldReader.textLength)
        nonce = try fields.bytes("nonce", 16...64)
    }

    func write(to map: inout MessagePackMap) {
        map.add("reason", reason)
        map.add("nonce", nonce)
    }
}

/// The new key; both are admitted for a minute.
public struct CurveRotateAck: FrameFields {
    public var newPublicKey: String
    /// Ed25519 over the nonce and the new key.
    public var signature: [UInt8]

    public init(newPublicKey: String, signature: [UInt8]) {
        self.newPublicKey = newPublicKey
        self.signature = signature
    }

    init(_ fields: FieldReader) throws(FrameError) {
        newPublicKey = try fields.text("new_public_key", atMost: 40)
        signature = try fields.bytes("sig", 64...64)
    }

    func write(to map: inout MessagePackMap) {
        map.add("new_public_key", newPublicKey)
        map.add("sig", signature)
    }
}
