import OpenAI

/// Something a customer is to pay for: a row of `orders`.
public enum PaymentOrder: Identified { public static let idPrefix = "ord_" }

public struct Order: Sendable, Equatable, Encodable {
    public enum State: String, Sendable, Encodable { case open, paid, failed }

    public var id: ID<PaymentOrder>
    public var object = "order"
    public var projectID: ID<Project>
    /// `manual` or `stripe`.
    public var provider: String
    /// What it buys.
    public var kind: Kind
    /// Nano-USD.
    public var amount: Int64
    public var state: State
    /// The operator's own name for the payment, such as the number of a bank statement's line; one order for each.
    public var reference: String?
    /// The provider's name of the payment that paid it.
    public var paymentID: String?
    /// The ledger transaction that credited it.
    public var transactionID: String?
    public var createdAt: Int
    public var paidAt: Int?

    public enum Kind: String, Sendable, Encodable { case topup }

    private enum CodingKeys: String, CodingKey {
        case id, object, provider, kind, state, reference
        case projectID = "project_id"
        case amount = "amount_nano"
        case paymentID = "payment_id"
        case transactionID = "ledger_transaction_id"
        case createdAt = "created_at"
        case paidAt = "paid_at"
    }

    /// What a top-up may be (08 §7), in nano-USD.
    public static let topUpRange = 5 * NanoUSD.perDollar...5_000 * NanoUSD.perDollar
    /// What an operator may book by hand: up to a hundred million, more is a slip of the finger.
    public static let manualRange = 1...100_000_000 * NanoUSD.perDollar
}
