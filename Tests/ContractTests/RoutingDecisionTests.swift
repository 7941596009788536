import Agents
import Foundation
import OpenAI
import Postgres
import Tenancy
import Testing

@Suite(.enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct RoutingDecisionTests {
    private static func decision(_ project: ID<Project>, _ request: String, at time: Double) -> RoutingDecision {
        RoutingDecision(
            project: project.description, request: request, attempt: 2, model: "small", tier: "free", worker: "us:agt_b",
            isExploration: true,
            candidates: [
                .init(worker: "us:agt_a", score: 0.1 + 0.2, isLoaded: true), .init(worker: "us:agt_b", score: 1.0 / 3, isLoaded: false),
            ], sharpness: 16, epsilon: 0.05, seed: .min + 7, microseconds: 42, decidedAt: time)
    }

    @Test func whatIsStoredIsReadToTheLastBitAndForgottenWhenItIsOld() throws {
        let database = try PostgresServer.makeDatabase()
        let project = try database.makeProject("acme").id
        let system = SystemDatabase(url: database.url, size: 2, waitMilliseconds: 30_000)
        let now = Date().timeIntervalSince1970.rounded()
        let (old, new) = (Self.decision(project, "req_old", at: now - 7_200), Self.decision(project, "req_new", at: now))
        let stranger = Self.decision(.random(), "req_stranger", at: now)
        try system.withConnection { connection in
            try connection.store([old, new, stranger])
            #expect(try connection.routingDecisions(most: 10) == [new, old], "a project that is gone has none")
            #expect(try connection.routingDecisions(most: 10, of: "req_old") == [old])
            #expect(try connection.routingDecisions(most: 1) == [new])
            #expect(try connection.forgetRoutingDecisions(olderThan: 3_600, most: 10) == 1)
            #expect(try connection.routingDecisions(most: 10) == [new])
        }
    }
}
