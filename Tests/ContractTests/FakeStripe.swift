import Billing
import Crypto
import Foundation
import HTTPClient
import Synchronization

/// A card processor of the tests: answers as docs.stripe.com/api says, remembers idempotency keys, and signs callbacks.
final class FakeStripe: Sendable {
    struct Call: Sendable {
        var path: String
        var key: String?
        var authorization: String?
        var form: [String: String]
    }

    static let secret = "whsec_test"
    let server: RawServer
    private let state: Shared

    private final class Shared: Sendable {
        let calls = Mutex<[Call]>([])
        let answers = Mutex<[String: String]>([:])
        let failure = Mutex<(status: String, body: String)?>(nil)
    }

    init() throws {
        let state = Shared()
        self.state = state
        server = try RawServer { connection in
            while let request = connection.readRequest() {
                let call = Self.read(request)
                state.calls.withLock { $0.append(call) }
                if let failure = state.failure.withLock({ $0 }) {
                    connection.answer(failure.status, failure.body)
                    continue
                }
                let fresh = Self.answer(to: call)
                let answer = state.answers.withLock { answers in
                    guard let key = call.key else { return fresh }
                    if answers[key] == nil { answers[key] = fresh }
                    return answers[key]!
                }
                connection.answer("200 OK", answer)
            }
        }
    }

    var calls: [Call] { state.calls.withLock { $0 } }
    func fail(_ status: String?, _ body: String = "{}") { state.failure.withLock { $0 = status.map { ($0, body) } } }

    func provider(_ change: (inout OutboundLimits) -> Void = { _ in }) throws -> StripeProvider {
        var limits = OutboundLimits()
        change(&limits)
        return try StripeProvider(
            url: server.origin, secretKey: "sk_test_secret", webhookSecrets: [Self.secret],
            outbound: OutboundGuard(allowHosts: [server.authority]), limits: limits)
    }

    private static func read(_ request: String) -> Call {
        let parts = request.components(separatedBy: "\r\n\r\n")
        let lines = parts[0].components(separatedBy: "\r\n")
        func header(_ name: String) -> String? { lines.first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) } }
        let pairs = parts.dropFirst().joined().split(separator: "&").map {
            $0.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        }
        let form = Dictionary(
            pairs.map { (String($0[0]).removingPercentEncoding ?? "", String($0.last ?? "").removingPercentEncoding ?? "") },
            uniquingKeysWith: { _, last in last })
        return Call(
            path: lines[0].components(separatedBy: " ")[1], key: header("Idempotency-Key"), authorization: header("Authorization"),
            form: form)
    }

    private static func answer(to call: Call) -> String {
        let number = UInt32.random(in: 0...UInt32.max)
        switch call.path {
        case "/v1/customers": return #"{"id":"cus_\#(number)","object":"customer"}"#
        case "/v1/checkout/sessions":
            return #"{"id":"cs_\#(number)","object":"checkout.session","url":"https://checkout.stripe.com/c/pay/cs_\#(number)"}"#
        case "/v1/billing_portal/sessions": return #"{"id":"bps_\#(number)","url":"https://billing.stripe.com/p/session/\#(number)"}"#
        case "/v1/payment_intents": return #"{"id":"pi_\#(number)","object":"payment_intent","status":"succeeded"}"#
        case "/v1/refunds": return #"{"id":"re_\#(number)","object":"refund","status":"succeeded"}"#
        default: return #"{"id":"obj_\#(number)"}"#
        }
    }

    static func sign(_ body: String, secret: String = secret, at time: Int = Int(Date().timeIntervalSince1970)) -> String {
        let digest = HMAC.sha256(key: Array(secret.utf8), Array("\(time).\(body)".utf8))
        return "t=\(time),v1=" + digest.map { String(format: "%02x", $0) }.joined()
    }

    static func completed(
        _ order: Order, event: String, payment: String, cents: Int? = nil, status: String = "paid", currency: String = "usd"
    ) -> String {
        """
        {"id":"\(event)","object":"event","type":"checkout.session.completed","data":{"object":{"id":"cs_1","object":"checkout.session",
        "client_reference_id":"\(order.id)","metadata":{"order":"\(order.id)"},"payment_intent":"\(payment)","payment_status":"\(status)",
        "amount_total":\(cents ?? Int(order.amount / 10_000_000)),"currency":"\(currency)"}}}
        """
    }

    static func succeeded(_ order: Order, event: String, payment: String) -> String {
        """
        {"id":"\(event)","object":"event","type":"payment_intent.succeeded","data":{"object":{"id":"\(payment)","object":"payment_intent",
        "metadata":{"order":"\(order.id)"},"amount_received":\(order.amount / 10_000_000),"currency":"usd"}}}
        """
    }
}
