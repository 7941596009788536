import Foundation
import HTTPClient
import OpenAI
import Server

/// Fetches the images that a request names by URL, through the outbound guard (02 §9), when the request is about to be sent: engines get them inside
/// of it, and are never sent to an address that a client chose.
final class FetchedImages: Upstream {
    private let upstream: any Upstream
    private let images: [RemoteImage]
    private let client: GuardedHTTPClient
    private let project: String

    /// Of all images of a request together, as of a body that holds them.
    private static let byteLimit = 20 << 20
    private static let types: Set<String> = ["image/png", "image/jpeg", "image/gif", "image/webp"]

    init(_ images: [RemoteImage], with client: GuardedHTTPClient, for project: String, to upstream: any Upstream) {
        self.images = images
        self.client = client
        self.project = project
        self.upstream = upstream
    }

    func send(_ request: UpstreamRequest) -> any UpstreamCall {
        do {
            var request = request
            var body = Data(request.body)
            var bytesLeft = Self.byteLimit
            for (number, image) in images.enumerated() {
                let placeholder = Data(RemoteImage.placeholder(number, of: request.requestID).utf8)
                guard let place = body.range(of: placeholder) else { continue }
                guard ContinuousClock.now < request.deadline else {
                    throw APIError(.gatewayTimeout, "The images could not be fetched in time.")
                }
                body.replaceSubrange(place, with: try dataURL(image, &bytesLeft))
            }
            request.body = Array(body)
            return upstream.send(request)
        } catch {
            return FailedCall(ErrorRendering.apiError(error))
        }
    }

    private func dataURL(_ image: RemoteImage, _ bytesLeft: inout Int) throws -> Data {
        let answer: OutboundAnswer
        do {
            answer = try client.send(OutboundRequest(.get, image.url, headers: [("Accept", "image/*")]), for: project)
        } catch let refusal as OutboundRefusal {
            switch refusal {
            case .unreachable, .timedOut, .answerTooLarge:
                throw APIError.invalid(image.param, "The image could not be fetched. \(refusal.apiError.message)")
            default: throw refusal.apiError(param: image.param)
            }
        }
        guard answer.status == 200 else {
            throw APIError.invalid(image.param, "The image could not be fetched: its server answers with \(answer.status).")
        }
        let type = answer.head.value(of: "content-type")?.prefix { $0 != ";" && $0 != " " }.lowercased() ?? ""
        guard Self.types.contains(type) else {
            throw APIError(.unsupportedContent, "What is there is no image: PNG, JPEG, GIF and WebP are.", param: image.param)
        }
        bytesLeft -= answer.body.count
        guard bytesLeft >= 0 else {
            throw APIError.invalid(image.param, "The images of the request are larger than \(Self.byteLimit) bytes together.")
        }
        return Data("data:\(type);base64,".utf8) + Data(answer.body).base64EncodedData()
    }
}

/// A call that failed before it began.
final class FailedCall: UpstreamCall {
    private let error: APIError
    let workerID = ""
    let attempts = 1
    let queueTime = Duration.zero
    let decisionTime = Duration.zero

    init(_ error: APIError) { self.error = error }

    func next(until instant: ContinuousClock.Instant) -> UpstreamEvent { .fault(UpstreamFault(error)) }
    func cancel() {}
}
