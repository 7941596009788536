import Foundation
import Logging
import OpenAI
import Server

/// Where payment providers say what was paid. No key: the body is signed.
public struct ProviderCallbackRoutes: Sendable {
    private let topUps: TopUps
    private let stripe: (any PaymentProvider)?

    /// - Parameter stripe: nil = it is not set up, and its callbacks are not found.
    public init(topUps: TopUps, stripe: (any PaymentProvider)?) {
        self.topUps = topUps
        self.stripe = stripe
    }

    public var all: [Route] {
        [
            Route(.post, "billing/stripe/webhook", .root, .open, meter: .none, bodyLimit: 256 << 10) { request, context in
                guard let stripe else { throw APIError(.notFound, "Unknown path.") }
                let event = try stripe.verifyWebhook(
                    request.body, signature: request.header("HTTP_STRIPE_SIGNATURE"), at: Int(Date().timeIntervalSince1970))
                let outcome = try topUps.receive(event, of: stripe.name)
                context.services.logger.log(
                    level: outcome.needsSomebody ? .error : .info, "payment callback",
                    metadata: ["provider": "stripe", "event": "\(event.id)", "type": "\(event.type)", "outcome": "\(outcome.rawValue)"])
                return .json(Array(#"{"received":true}"#.utf8))
            }
        ]
    }
}
