import Mesh
import OpenAI

extension MeshUpstream {
    private static let answerTime = Duration.seconds(2)

    /// Asks the router that would choose for the request how it would.
    /// - Throws: 503 where no router answers.
    func explain(_ request: UpstreamRequest) throws -> Explained {
        let question = Message(id: links.name(request.requestID), sequence: 0, time: 0, .explain(Explain(route(request))))
        for router in links.routers(for: pool) {
            guard let connection = links.connection(to: router) else { continue }
            let end = ContinuousClock.now + Self.answerTime
            connection.send(question, until: end)
            guard case .message(let message) = connection.next(until: end), case .explained(let explained) = message.frame else { continue }
            links.giveBack(connection)
            return explained
        }
        throw APIError(.noWorkerAvailable, "No router is available right now.", retryAfter: 5)
    }
}
