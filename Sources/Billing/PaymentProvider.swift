import OpenAI

/// Who takes customers' money (08 §7). No call of it credits anything: that is done when the payment is known to have happened, by a callback or
/// by the operator.
public protocol PaymentProvider: Sendable {
    /// As in the column `provider`.
    var name: String { get }

    /// Makes the project known there.
    /// - Returns: the provider's name of it.
    func createCustomer(project: ID<Project>, name: String) throws -> String
    /// Asks for the order's amount. The same order again answers the same checkout.
    func createCheckout(_ order: Order, customer: String?, returnURL: String) throws -> Checkout
    /// A page of the provider where the customer manages methods and invoices.
    func createPortal(customer: String, returnURL: String) throws -> String
    func attachMethod(_ method: String, to customer: String) throws
    func detachMethod(_ method: String) throws
    func setDefault(_ method: String, of customer: String) throws
    /// Takes the order's amount from a stored method, once for each order.
    /// - Returns: the payment's id.
    func charge(_ order: Order, customer: String, method: String) throws -> String
    /// Gives money back, once for each `key`.
    /// - Returns: the refund's id.
    func refund(payment: String, amount: Int64, key: String) throws -> String
    /// Reads a callback.
    /// - Parameters:
    ///   - signature: the provider's header.
    ///   - time: now, in unix seconds.
    /// - Throws: `APIError` 400 for one that is not the provider's, or is old.
    func verifyWebhook(_ body: [UInt8], signature: String?, at time: Int) throws -> ProviderEvent
}

/// Where a customer pays.
public struct Checkout: Sendable, Equatable {
    /// The provider's name of it.
    public var id: String
    /// nil = there is no page; the customer pays in some other way.
    public var url: String?
}

/// A callback whose sender is known.
public struct ProviderEvent: Sendable, Equatable {
    public enum Meaning: Sendable, Equatable {
        /// The order was paid: by this payment, this amount in nano-USD.
        case paid(order: String, payment: String, amount: Int64)
        /// The order will not be paid.
        case failed(order: String)
        /// Not for us.
        case other
    }

    public var id: String
    public var type: String
    public var meaning: Meaning
}

public enum PaymentError: APIErrorConvertible, Equatable {
    case unsuitableAmount(ClosedRange<Int64>)
    case badReference
    case badReturnURL
    /// An order of another project or amount has this reference.
    case referenceInUse(String)
    case notOffered(provider: String)
    case badSignature
    case badCallback
    /// The provider said no; its own code.
    case refused(String)
    case providerUnavailable

    public var apiError: APIError {
        switch self {
        case .unsuitableAmount(let range):
            .invalid(
                "usd",
                "The amount is from \(NanoUSD.text(range.lowerBound)) to \(NanoUSD.text(range.upperBound)) USD, and for cards in whole cents."
            )
        case .badReference: .invalid("reference", "A reference has 1 to 128 printable characters.")
        case .badReturnURL: .invalid("return_url", "The return URL is not an http or https URL.")
        case .referenceInUse(let reference): APIError(.conflict, "Another order has the reference '\(reference)'.", param: "reference")
        case .notOffered(let provider): APIError(.unsupportedCombination, "The payment provider '\(provider)' does not offer this.")
        case .badSignature: APIError(.invalidRequest, "The callback's signature is missing, wrong or too old.")
        case .badCallback: APIError(.invalidRequest, "The callback is not an event of the provider.")
        case .refused(let code): APIError(.invalidRequest, "The payment provider refused: \(code).")
        case .providerUnavailable: .unavailable("The payment provider is not available right now.")
        }
    }
}
