import Foundation
import HTTPClient
import JSON
import OpenAI

/// Payment by card over Stripe's REST API; see docs.stripe.com/api
public struct StripeProvider: PaymentProvider {
    public let name = "stripe"
    private let base: String
    private let secretKey: String
    private let webhookSecrets: [String]
    private let client: GuardedHTTPClient
    private let parser = JSONParser()

    /// - Parameters:
    ///   - url: of the API, without `/v1`.
    ///   - webhookSecrets: what signs callbacks; several while they are rotated.
    /// - Throws: `OutboundRefusal` for a URL that may not be called.
    public init(
        url: String, secretKey: String, webhookSecrets: [String], outbound: OutboundGuard, limits: OutboundLimits = OutboundLimits()
    ) throws(OutboundRefusal) {
        let checked = try outbound.check(url)
        guard !checked.target.contains("?") else { throw .malformedURL("It has a query.") }
        var path = checked.target
        while path.hasSuffix("/") { path.removeLast() }
        base = checked.origin + path + "/v1/"
        self.secretKey = secretKey
        self.webhookSecrets = webhookSecrets
        // It never redirects, and what is sent there follows nowhere.
        var limits = limits
        limits.redirects = 0
        client = GuardedHTTPClient(outbound, limits: limits)
    }

    public func createCustomer(project: ID<Project>, name: String) throws -> String {
        try post("customers", [("name", name), ("metadata[project]", project.description)], key: "customer:\(project)") {
            try $0.text("id")
        }
    }

    public func createCheckout(_ order: Order, customer: String?, returnURL: String) throws -> Checkout {
        let price = "line_items[0][price_data]"
        let form = [
            ("mode", "payment"), ("client_reference_id", order.id.description), ("metadata[order]", order.id.description),
            ("payment_intent_data[metadata][order]", order.id.description), ("line_items[0][quantity]", "1"), ("\(price)[currency]", "usd"),
            ("\(price)[unit_amount]", Self.cents(order.amount)), ("\(price)[product_data][name]", "Credits"), ("success_url", returnURL),
            ("cancel_url", returnURL),
        ]
        return try post("checkout/sessions", form + (customer.map { [("customer", $0)] } ?? []), key: "checkout:\(order.id)") {
            Checkout(id: try $0.text("id"), url: try $0.text("url"))
        }
    }

    public func createPortal(customer: String, returnURL: String) throws -> String {
        try post("billing_portal/sessions", [("customer", customer), ("return_url", returnURL)]) { try $0.text("url") }
    }

    public func attachMethod(_ method: String, to customer: String) throws {
        try post("payment_methods/\(Self.segment(method))/attach", [("customer", customer)]) { _ in }
    }

    public func detachMethod(_ method: String) throws { try post("payment_methods/\(Self.segment(method))/detach", []) { _ in } }

    public func setDefault(_ method: String, of customer: String) throws {
        try post("customers/\(Self.segment(customer))", [("invoice_settings[default_payment_method]", method)]) { _ in }
    }

    public func charge(_ order: Order, customer: String, method: String) throws -> String {
        let form = [
            ("amount", Self.cents(order.amount)), ("currency", "usd"), ("customer", customer), ("payment_method", method),
            ("off_session", "true"),
            ("confirm", "true"), ("metadata[order]", order.id.description),
        ]
        return try post("payment_intents", form, key: "charge:\(order.id)") { try $0.text("id") }
    }

    public func refund(payment: String, amount: Int64, key: String) throws -> String {
        try post("refunds", [("payment_intent", payment), ("amount", Self.cents(amount))], key: "refund:\(key)") { try $0.text("id") }
    }

    public func verifyWebhook(_ body: [UInt8], signature: String?, at time: Int) throws -> ProviderEvent {
        guard let signature, StripeSignature.isValid(signature, of: body, secrets: webhookSecrets, at: time) else {
            throw PaymentError.badSignature
        }
        do {
            return try parser.parse(body) { try Self.event($0) }
        } catch is JSONError { throw PaymentError.badCallback }
    }

    /// Both kinds of event may come for one payment; it is known by its payment intent, so the second one changes nothing.
    private static func event(_ json: JSONElement) throws -> ProviderEvent {
        guard let id = json["id"]?.string, !id.isEmpty, id.utf8.count <= 255, let type = json["type"]?.string, type.utf8.count <= 255,
            let object = json["data"]?["object"], object.kind == .object
        else { throw PaymentError.badCallback }
        let order = object["metadata"]?["order"]?.string ?? object["client_reference_id"]?.string
        var meaning = ProviderEvent.Meaning.other
        switch type {
        case "checkout.session.completed", "checkout.session.async_payment_succeeded":
            // A completed session may still wait for a slow payment.
            if let order, object["payment_status"]?.string == "paid" {
                meaning = .paid(
                    order: order, payment: try object.text("payment_intent"), amount: try object.amount("amount_total"))
            }
        case "payment_intent.succeeded":
            if let order { meaning = .paid(order: order, payment: try object.text("id"), amount: try object.amount("amount_received")) }
        case "checkout.session.expired", "checkout.session.async_payment_failed":
            if let order { meaning = .failed(order: order) }
        default: break
        }
        return ProviderEvent(id: id, type: type, meaning: meaning)
    }

    /// - Parameter key: makes the call happen once, however often it is sent (docs.stripe.com/api/idempotent_requests).
    private func post<Value>(
        _ path: String, _ form: [(String, String)], key: String? = nil, _ read: (JSONElement) throws -> Value
    ) throws -> Value {
        var headers = [
            ("Authorization", "Bearer \(secretKey)"), ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"),
        ]
        if let key { headers.append(("Idempotency-Key", key)) }
        let body = form.map { "\(Self.escaped($0.0))=\(Self.escaped($0.1))" }.joined(separator: "&")
        let answer: OutboundAnswer
        do {
            answer = try client.send(OutboundRequest(.post, base + path, headers: headers, body: Array(body.utf8)), for: "billing")
        } catch OutboundRefusal.unreachable, OutboundRefusal.timedOut, OutboundRefusal.tooManyAtOnce {
            throw PaymentError.providerUnavailable
        }
        // 409 and 429 ask for another try as well.
        if answer.status >= 500 || [409, 429].contains(answer.status) { throw PaymentError.providerUnavailable }
        do {
            return try parser.parse(answer.body) { json in
                guard (200..<300).contains(answer.status) else {
                    throw PaymentError.refused(
                        json["error"]?["code"]?.string ?? json["error"]?["type"]?.string ?? "status \(answer.status)")
                }
                return try read(json)
            }
        } catch is JSONError { throw PaymentError.providerUnavailable }
    }

    private static func cents(_ nano: Int64) -> String { String(nano / NanoUSD.perCent) }

    private static func segment(_ text: String) -> String { escaped(text) }

    private static func escaped(_ text: String) -> String {
        var unreserved = CharacterSet(charactersIn: "-._~")
        unreserved.insert(charactersIn: "a"..."z")
        unreserved.insert(charactersIn: "A"..."Z")
        unreserved.insert(charactersIn: "0"..."9")
        return text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? ""
    }
}

extension JSONElement {
    fileprivate func text(_ name: StaticString) throws -> String {
        guard let text = self[name]?.string, !text.isEmpty, text.utf8.count <= 2_048 else { throw PaymentError.badCallback }
        return text
    }

    /// Whole cents of US dollars, in nano-USD; anything else is no amount.
    fileprivate func amount(_ name: StaticString) throws -> Int64 {
        guard let cents = self[name]?.integer, (0...1_000_000_000_00).contains(cents), self["currency"]?.string == "usd" else {
            throw PaymentError.badCallback
        }
        return Int64(cents) * NanoUSD.perCent
    }
}
