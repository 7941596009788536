import Catalog
import OpenAI
import Server

/// The response headers of inference (01 §7).
enum InferenceHeaders {
    static func limits(_ readings: LimitReadings) -> [(name: String, value: String)] {
        func triple(_ reading: LimitReading, _ suffix: String) -> [(name: String, value: String)] {
            [
                ("X-RateLimit-Limit\(suffix)", String(reading.limit)), ("X-RateLimit-Remaining\(suffix)", String(reading.remaining)),
                ("X-RateLimit-Reset\(suffix)", String(reading.resetSeconds)),
            ]
        }
        return triple(readings.requests, "-Requests") + triple(readings.tokens, "-Tokens") + triple(readings.requests, "")
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
