import Foundation
import HTTPClient

/// What the agent asks of the platform by HTTPS, beside the mesh.
enum RouterAPI {
    /// Why the platform refused, in its words.
    struct Refusal: Decodable, Error {
        var message, code: String
        var param: String?
    }

    enum Answer {
        case good(Data)
        case refused(status: Int, Refusal?)
    }

    private struct Envelope: Decodable { var error: Refusal }

    private static let longestAnswer = 1 << 20

    /// - Parameters:
    ///   - url: the platform's origin.
    ///   - path: such as `/v1/enroll`.
    ///   - token: the agent's; nil = none.
    /// - Throws: `AgentProblem` where there is no answer.
    static func post(
        _ body: some Encodable, to path: String, at url: String, token: String? = nil, expecting status: Int
    ) throws -> Answer {
        let target = (url.hasSuffix("/") ? String(url.dropLast()) : url) + path
        let headers =
            ["Content-Type: application/json", "User-Agent: xerotier-xim-agent"] + (token.map { ["Authorization: Bearer \($0)"] } ?? [])
        let request = HTTPRequest(.post, target, headers: HTTPHeaders(headers), body: Array(try JSONEncoder().encode(body)))
        let (answered, bytes) = try answer(to: request)
        if answered == status { return .good(Data(bytes)) }
        return .refused(status: answered, try? JSONDecoder().decode(Envelope.self, from: Data(bytes)).error)
    }

    private static func answer(to request: HTTPRequest) throws -> (status: Int, body: [UInt8]) {
        let transfer = HTTPClient().start(request)
        let end = ContinuousClock.now + .seconds(30)
        var (status, body): (Int, [UInt8]) = (0, [])
        while true {
            switch transfer.next(until: end) {
            case .head(let head): status = head.status
            case .body(let bytes):
                body.append(contentsOf: bytes)
                guard body.count <= longestAnswer else { throw AgentProblem("the router's answer is too long") }
            case .finished: return (status, body)
            case .failed(let failure): throw AgentProblem("the router cannot be reached: \(failure.kind)")
            case .extraDescriptorReady, .timedOut: throw AgentProblem("the router did not answer in 30 s")
            }
        }
    }
}
