import Foundation
import Postgres
import Tenancy

/// A choice of the router as it is stored: enough to make it again.
public struct RoutingDecision: Sendable, Equatable, Codable {
    /// One that could be chosen.
    public struct Candidate: Sendable, Equatable, Codable {
        public var worker: String
        public var score: Double
        public var isLoaded: Bool

        public init(worker: String, score: Double, isLoaded: Bool) {
            self.worker = worker
            self.score = score
            self.isLoaded = isLoaded
        }

        public init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            worker = try values.decode(String.self)
            score = try values.decode(Double.self)
            isLoaded = try values.decode(Bool.self)
        }

        public func encode(to encoder: any Encoder) throws {
            var values = encoder.unkeyedContainer()
            try values.encode(worker)
            try values.encode(score)
            try values.encode(isLoaded)
        }
    }

    public var project: String
    public var request: String
    public var attempt: Int
    public var model: String
    public var tier: String
    public var worker: String
    public var isExploration: Bool
    /// In the order in which they were drawn from.
    public var candidates: [Candidate]
    public var sharpness: Int
    public var epsilon: Double
    /// The bits of the generator's seed.
    public var seed: Int64
    public var microseconds: Int
    /// Seconds since 1970.
    public var decidedAt: Double

    public init(
        project: String, request: String, attempt: Int, model: String, tier: String, worker: String, isExploration: Bool,
        candidates: [Candidate], sharpness: Int, epsilon: Double, seed: Int64, microseconds: Int, decidedAt: Double
    ) {
        self.project = project
        self.request = request
        self.attempt = attempt
        self.model = model
        self.tier = tier
        self.worker = worker
        self.isExploration = isExploration
        self.candidates = candidates
        self.sharpness = sharpness
        self.epsilon = epsilon
        self.seed = seed
        self.microseconds = microseconds
        self.decidedAt = decidedAt
    }

    enum CodingKeys: String, CodingKey {
        case project = "project_id"
        case request = "request_id"
        case attempt, model, tier
        case worker = "worker_id"
        case isExploration = "explored"
        case candidates, sharpness, epsilon, seed
        case microseconds = "decision_us"
        case decidedAt = "decided_at"
    }
}

extension SystemConnection {
    /// Stores them all in one statement. Those of projects that are gone are left out.
    public func store(_ decisions: [RoutingDecision]) throws {
        guard !decisions.isEmpty else { return }
        try query(
            """
            INSERT INTO routing_decisions (project_id, request_id, attempt, model, tier, worker_id, explored, candidates, sharpness, epsilon,
                seed, decision_us, decided_at)
            SELECT d.project_id, d.request_id, d.attempt, d.model, d.tier, d.worker_id, d.explored, d.candidates, d.sharpness, d.epsilon,
                d.seed, d.decision_us, to_timestamp(d.decided_at)
            FROM jsonb_to_recordset(\(String(decoding: try JSONEncoder().encode(decisions), as: UTF8.self))::jsonb) AS d (
                project_id text, request_id text, attempt integer, model text, tier text, worker_id text, explored boolean, candidates jsonb,
                sharpness integer, epsilon double precision, seed bigint, decision_us integer, decided_at double precision)
            JOIN projects p ON p.id = d.project_id
            """)
    }

    /// The newest ones, or those of one request.
    public func routingDecisions(most: Int, of request: String? = nil) throws -> [RoutingDecision] {
        let rows = try query(
            """
            SELECT to_jsonb(d) || jsonb_build_object('decided_at', extract(epoch FROM decided_at)) AS json FROM routing_decisions d
            WHERE \(request)::text IS NULL OR request_id = \(request) ORDER BY decided_at DESC, id DESC LIMIT \(most)
            """)
        return try rows.map { try JSONDecoder().decode(RoutingDecision.self, from: Data(try $0.get("json", as: String.self).utf8)) }
    }

    /// - Returns: how many went.
    public func forgetRoutingDecisions(olderThan seconds: Double, most: Int) throws -> Int {
        try query(
            """
            DELETE FROM routing_decisions WHERE id IN (
                SELECT id FROM routing_decisions WHERE decided_at < now() - make_interval(secs => \(seconds)) LIMIT \(most))
            RETURNING 1
            """
        ).count
    }
}
