import Foundation
import Logging
import Threads

/// Fetches the agent's next token when three quarters of the present one's time are over (05 §11), and writes it into the state file.
final class TokenCare: Sendable {
    private let enrolment: KeptEnrolment
    private let state: StateDirectory
    private let logger: Logger

    /// Between two looks at the clock, in seconds: an agent that slept does not wait for a timer.
    private static let look: UInt32 = 1
    private static let firstPause = 60.0
    private static let longestPause = 900.0

    init(_ enrolment: KeptEnrolment, _ state: StateDirectory, logger: Logger) {
        self.enrolment = enrolment
        self.state = state
        self.logger = logger
    }

    /// Stays until `isStopped`. What may pass is tried again, after a minute and then more and more seldom.
    /// - Throws: `AgentProblem` where the platform knows this agent no more, or the state file cannot be written.
    func run(until isStopped: () -> Bool) throws {
        var next = Date(timeIntervalSince1970: Double(enrolment.now.refreshAt))
        var pause = Self.firstPause
        while !isStopped() {
            guard Date() >= next else {
                sleep(Self.look)
                continue
            }
            if let seconds = try refresh() {
                next = Date(timeIntervalSince1970: Double(seconds))
                pause = Self.firstPause
            } else {
                next = Date() + pause * .random(in: 0.5...1)
                pause = min(2 * pause, Self.longestPause)
            }
        }
    }

    private struct Asking: Encodable {
        var ts: Int
        var sig: String
    }

    private struct Answer: Decodable {
        var token: String
        var token_expires_at, refresh_after: Int
    }

    /// - Returns: when the new token is to be refreshed; nil = there is none, for a reason that may pass.
    private func refresh() throws -> Int? {
        let now = enrolment.now
        let time = Int(Date().timeIntervalSince1970)
        let signature = try state.signingKeys().signature(of: Array("\(now.agentID)|\(time)".utf8))
        let asking = Asking(ts: time, sig: StateDirectory.hex(signature))
        let said: RouterAPI.Answer
        do {
            said = try RouterAPI.post(asking, to: "/v1/enroll/refresh", at: now.routerURL, token: now.token, expecting: 200)
        } catch let problem as AgentProblem {
            logger.warning("the token could not be refreshed", metadata: ["error": "\(problem)"])
            return nil
        }
        switch said {
        case .good(let body):
            guard let answer = try? JSONDecoder().decode(Answer.self, from: body) else {
                logger.warning("the token could not be refreshed", metadata: ["error": "the answer is none"])
                return nil
            }
            try enrolment.change {
                ($0.token, $0.tokenExpiresAt, $0.refreshAfter) = (answer.token, answer.token_expires_at, answer.refresh_after)
            }
            logger.info("the token is refreshed")
            return answer.refresh_after
        // The platform says so of its own accord: with such credentials the mesh lets nobody in either.
        case .refused(401, let refusal?) where refusal.code == "invalid_agent_token" && refusal.param == nil:
            throw AgentProblem("this agent was revoked", isRevoked: true)
        case .refused(let status, let refusal):
            logger.warning(
                "the token could not be refreshed",
                metadata: ["status": "\(status)", "error": "\(refusal.map { "\($0.code): \($0.message)" } ?? "no reason was given")"])
            return nil
        }
    }
}
