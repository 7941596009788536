/// A version of a model, as endpoints and workers name it.
public struct ModelVersion: Hashable, Sendable {
    public var id: String
    public var version: String

    public init(id: String, version: String) {
        self.id = id
        self.version = version
    }
}

/// How ready a worker is to answer with a model.
public enum ModelState: Sendable, Equatable {
    case loaded
    /// The weights are on its disk.
    case onDisk
    /// It must download them first; they would fit (05 §18).
    case fits
}

/// What requests may need of a worker beyond the model.
public struct Features: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let tools = Features(rawValue: 1)
    public static let vision = Features(rawValue: 2)
    public static let guidedDecoding = Features(rawValue: 4)
    public static let all: Features = [.tools, .vision, .guidedDecoding]
}

public enum TaskMode: String, Sendable, CaseIterable { case chat, completion, embed, rerank, score }

/// What a model can be used for.
public struct TaskModes: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let chat = TaskModes(.chat)
    public static let completion = TaskModes(.completion)
    public static let embed = TaskModes(.embed)
    public static let rerank = TaskModes(.rerank)
    public static let score = TaskModes(.score)
    public static let all: TaskModes = [.chat, .completion, .embed, .rerank, .score]

    public init(_ mode: TaskMode) {
        rawValue =
            switch mode {
            case .chat: 1
            case .completion: 2
            case .embed: 4
            case .rerank: 8
            case .score: 16
            }
    }
}

/// A worker of the mesh as the router sees it at one moment. Whoever holds it changes it as frames come and requests go.
public struct Worker: Sendable {
    public enum State: String, Sendable { case active, draining, paused, suspended }

    /// What a worker does with one model.
    public struct Model: Sendable {
        public var state: ModelState
        public var tasks: TaskModes
        public var contextLength: Int
        public var features: Features
        public var history = ModelHistory()

        public init(state: ModelState, tasks: TaskModes, contextLength: Int, features: Features) {
            self.state = state
            self.tasks = tasks
            self.contextLength = contextLength
            self.features = features
        }
    }

    /// What its last heartbeat said of its engine; nil = not said.
    public struct Load: Sendable, Equatable {
        public var kvUsed: Double?
        public var waiting: Int?
        public var running: Int?

        public init(kvUsed: Double? = nil, waiting: Int? = nil, running: Int? = nil) {
            self.kvUsed = kvUsed
            self.waiting = waiting
            self.running = running
        }
    }

    /// `<region>:agt_…`
    public let id: String
    /// `agt_…`
    public let agent: String
    /// Its place in the `PrefixIndex`, which no other living worker has.
    public let slot: Int
    /// Whose private agent it is; nil = shared.
    public var project: String?
    public var region: String
    /// The slugs it serves; the defaults of its kind where the agent has no list of its own.
    public var tiers: [String]
    public var state: State = .active
    public var leaseUntil: Instant
    /// Silent for 15 s, or its connection was lost.
    public var isSuspect = false
    public var lastHeartbeat: Instant?
    public var breaker = CircuitBreaker()
    public var models = WorkerModels()
    public var load = Load()
    public var maxConcurrent: Int
    public private(set) var inFlight = 0
    /// Of prompts and answers in flight, as they were estimated at dispatch.
    public private(set) var tokensInFlight = 0
    public private(set) var tokensOfProjects: [String: Int] = [:]
    /// Moving average of 1 for an agent's fault and 0 for an answer; nil before the first.
    public private(set) var errorRate: Double?

    public init(id: String, slot: Int, project: String?, region: String, tiers: [String], leaseUntil: Instant, maxConcurrent: Int) {
        self.id = id
        agent = String(id[(id.lastIndex(of: ":").map(id.index(after:)) ?? id.startIndex)...])
        self.slot = slot
        self.project = project
        self.region = region
        self.tiers = tiers
        self.leaseUntil = leaseUntil
        self.maxConcurrent = maxConcurrent
    }

    /// Counts a request at the moment of its dispatch, not at the next heartbeat.
    public mutating func began(project: String, tokens: Int) {
        inFlight += 1
        tokensInFlight += tokens
        tokensOfProjects[project, default: 0] += tokens
        breaker.began()
    }

    /// What is heard of a request at its end. Each that began ends exactly once, with the tokens it began with.
    public mutating func ended(project: String, tokens: Int, model: ModelVersion, _ outcome: Outcome, at now: Instant) {
        precondition(inFlight > 0, "\(id) has nothing in flight")
        inFlight -= 1
        tokensInFlight -= tokens
        let rest = tokensOfProjects[project, default: 0] - tokens
        tokensOfProjects[project] = rest > 0 ? rest : nil
        switch outcome {
        case .answered(let timings):
            breaker.succeeded()
            errorRate = .average(errorRate, with: 0)
            models[model]?.history.add(timings)
        case .agentFault:
            breaker.failed(at: now)
            errorRate = .average(errorRate, with: 1)
        case .noNews: breaker.endedWithoutNews()
        }
    }

    public enum Outcome: Sendable {
        case answered(AnswerTimings)
        case agentFault
        /// The client's fault, or it has left.
        case noNews
    }

    /// The project's part of the tokens in flight here.
    func share(of project: String) -> Double {
        tokensInFlight > 0 ? Double(tokensOfProjects[project] ?? 0) / Double(tokensInFlight) : 0
    }
}
