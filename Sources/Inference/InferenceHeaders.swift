import Catalog
import OpenAI
import Server

/// The response headers of inference (01 §7).
enum InferenceHeaders {
    static func limits(_ readings: LimitReadings) -> [(name: String, value: String)] {
        let (requests, tokens) = (readings.requests, readings.tokens)
        return [
            ("X-RateLimit-Limit-Requests", String(requests.limit)), ("X-RateLimit-Remaining-Requests", String(requests.remaining)),
            ("X-RateLimit-Reset-Requests", String(requests.resetSeconds)),
            ("X-RateLimit-Limit-Tokens", String(tokens.limit)), ("X-RateLimit-Remaining-Tokens", String(tokens.remaining)),
            ("X-RateLimit-Reset-Tokens", String(tokens.resetSeconds)),
            ("X-RateLimit-Limit", String(requests.limit)), ("X-RateLimit-Remaining", String(requests.remaining)),
            ("X-RateLimit-Reset", String(requests.resetSeconds)),
        ]
    }

    static func routing(_ endpoint: EndpointRecord, _ call: any UpstreamCall) -> [(name: String, value: String)] {
        [
            ("X-Xerotier-Worker-ID", call.workerID), ("X-Xerotier-Router-Ms", call.decisionTime.milliseconds.text(decimals: 3)),
            ("X-Xerotier-Routed-Model", endpoint.modelName), ("X-Xerotier-Routed-Endpoint", endpoint.slug),
            ("X-Xerotier-Model-Version", endpoint.modelVersion),
        ]
    }

    static func clamps(_ clamps: [UpstreamBody.Clamp]) -> [(name: String, value: String)] {
        clamps.isEmpty ? [] : [("X-Xerotier-Clamped", clamps.map(\.description).joined(separator: ", "))]
    }
}
