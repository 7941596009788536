import Mesh
import OpenAI
import ZeroMQ

extension MeshUpstream {
    private static let answerTime = Duration.seconds(2)

    /// Asks the router that would choose for the request how it would.
    /// - Throws: 503 where no router answers.
    func explain(_ request: UpstreamRequest) throws -> Explained {
        let (id, mailbox) = links.open(request.requestID)
        defer { links.close(id) }
        let question = Message(id: id, sequence: 0, time: 0, .explain(Explain(route(request))))
        for router in links.routers(for: pool) {
            links.send(question, to: router)
            let end = ContinuousClock.now + Self.answerTime
            while ContinuousClock.now < end {
                _ = mailbox.bell.wait(until: end, orDescriptor: nil)
                let news = mailbox.take()
                if let explained = news.messages.lazy.compactMap(Self.explained).first { return explained }
                if news.lost.contains(router) { break }
            }
        }
        throw APIError(.noWorkerAvailable, "No router is available right now.", retryAfter: 5)
    }

    private static func explained(_ parts: [ZeroMQPart]) -> Explained? {
        guard case .explained(let explained)? = try? Message.read(parts[...], from: .relay)?.frame else { return nil }
        return explained
    }
}
