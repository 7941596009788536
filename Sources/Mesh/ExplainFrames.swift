import MessagePack

/// A gateway asks how the router would choose for a request. Nothing goes to any agent.
public struct Explain: FrameFields {
    /// The body is empty.
    public var route: RouteRequest

    public init(_ route: RouteRequest) { self.route = route }
    init(_ fields: FieldReader) throws(FrameError) { route = try RouteRequest(fields) }
    func write(to map: inout MessagePackMap) { route.write(to: &map) }
}

/// How the router would choose, at this moment.
public struct Explained: FrameFields {
    /// One worker that the project may know of.
    public struct Worker: FrameFields {
        public var id: String
        public var region: String
        /// It is no agent of the project's own.
        public var isShared: Bool
        /// Why it cannot have the request; nil = it can.
        public var obstacle: String?
        /// In the order of the signals, each 0...1.
        public var values: [Double]
        public var score: Double
        /// Of being chosen; 0 for those that cannot.
        public var probability: Double

        public init(
            id: String, region: String, isShared: Bool, obstacle: String?, values: [Double], score: Double, probability: Double
        ) {
            self.id = id
            self.region = region
            self.isShared = isShared
            self.obstacle = obstacle
            self.values = values
            self.score = score
            self.probability = probability
        }

        init(_ fields: FieldReader) throws(FrameError) {
            id = try fields.text("id")
            region = try fields.text("region")
            isShared = try fields.flag("shared")
            obstacle = try fields.optionalText("obstacle")
            values = try fields.numbers("values")
            score = try fields.number("score", 0...1.001)
            probability = try fields.number("probability", 0...1.001)
        }

        func write(to map: inout MessagePackMap) {
            map.add("id", id)
            map.add("region", region)
            map.add("shared", isShared)
            map.add("obstacle", obstacle)
            map.add("values", values)
            map.add("score", score)
            map.add("probability", probability)
        }
    }

    /// Workers of an answer at most.
    public static let mostWorkers = 1_000

    /// Names of the signals, in their order.
    public var signals: [String]
    /// As they count for this request, in the same order.
    public var weights: [Double]
    public var sharpness: Int
    public var epsilon: Double
    public var workers: [Worker]

    public init(signals: [String], weights: [Double], sharpness: Int, epsilon: Double, workers: [Worker]) {
        self.signals = signals
        self.weights = weights
        self.sharpness = sharpness
        self.epsilon = epsilon
        self.workers = workers
    }

    init(_ fields: FieldReader) throws(FrameError) {
        signals = try fields.ids("signals")
        weights = try fields.numbers("weights")
        sharpness = try fields.integer("sharpness", 1...64)
        epsilon = try fields.number("epsilon", 0...1)
        workers = try fields.items("workers", atMost: Self.mostWorkers)
    }

    func write(to map: inout MessagePackMap) {
        map.add("signals", signals)
        map.add("weights", weights)
        map.add("sharpness", sharpness)
        map.add("epsilon", epsilon)
        map.add("workers", workers)
    }
}
