import Foundation
import HTTPClient
import OpenAI

/// Sends one event to one server, through the outbound guard; redirects are not followed.
public struct WebhookSender: Sendable {
    private let client: GuardedHTTPClient

    /// Of an answer, bytes.
    private static let mostRead = 64 << 10
    private static let excerpt = 1_024
    private static let seconds = 10.0

    public init(_ outbound: OutboundGuard, timeScale: Double, authorities: CertificateAuthorities = .system) {
        var limits = OutboundLimits()
        // A server on the same machine may well need a second, however fast time goes.
        limits.total = .seconds(max(2, Self.seconds * timeScale))
        limits.redirects = 0
        limits.bytes = Self.mostRead
        limits.cutsBody = true
        limits.concurrent = 10_000
        client = GuardedHTTPClient(outbound, limits: limits, authorities: authorities)
    }

    /// What is sent where. It holds what signs, so it is never shown.
    struct Letter: Sendable {
        var project: ID<Project>
        var url: String
        var eventID: String
        var body: [UInt8]
        var secrets: [WebhookSecret]
    }

    struct Answer: Sendable {
        var attempt: DeliveryAttempt
        /// Seconds, of a 429 or 503.
        var retryAfter: Double?
    }

    func send(_ letter: Letter) -> Answer {
        let now = Int(Date().timeIntervalSince1970)
        let start = ContinuousClock.now
        let request = OutboundRequest(
            .post, letter.url, headers: WebhookHeaders.all(event: letter.eventID, timestamp: now, letter.body, letter.secrets),
            body: letter.body)
        var answer = Answer(attempt: DeliveryAttempt(at: now, durationMilliseconds: 0))
        do {
            let response = try client.send(request, for: letter.project.description)
            answer.attempt.statusCode = response.status
            answer.attempt.responseExcerpt = Self.excerpt(of: response.body)
            if [429, 503].contains(response.status) {
                answer.retryAfter = response.head.value(of: "retry-after").flatMap { Self.seconds(retryAfter: $0, now: now) }
            }
        } catch {
            answer.attempt.error = Self.text(of: error)
        }
        answer.attempt.durationMilliseconds = Int((ContinuousClock.now - start) / .milliseconds(1))
        return answer
    }

    /// Text that Postgres and JSON can hold, whatever came.
    private static func excerpt(of body: [UInt8]) -> String? {
        guard !body.isEmpty else { return nil }
        return String(decoding: body.prefix(excerpt), as: UTF8.self).replacing("\0", with: "\u{FFFD}")
    }

    /// A number of seconds, or a date (RFC 9110 §10.2.3).
    static func seconds(retryAfter text: String, now: Int) -> Double? {
        if let seconds = Double(text), seconds >= 0, seconds.isFinite { return seconds }
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(identifier: "UTC")
        format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
        return format.date(from: text).map { max(0, $0.timeIntervalSince1970 - Double(now)) }
    }

    private static func text(of error: any Error) -> String {
        switch error as? OutboundRefusal {
        case .blocked(let reason): "blocked: \(reason)"
        case .malformedURL(let reason): "bad URL: \(reason)"
        case .timedOut: "timeout: no whole answer in time"
        case .unreachable(.cannotConnect): "no connection"
        case .unreachable(.untrusted): "the certificate is not trusted"
        case .unreachable(.lost): "the connection broke"
        case .unreachable, .tooManyRedirects, .answerTooLarge, .header: "no HTTP answer"
        case .tooManyAtOnce, nil: "not sent"
        }
    }
}
