import OpenAI
import Postgres

/// Money that comes into a project's balance or leaves it.
public struct LedgerPosting: Sendable {
    public enum Kind: String, Sendable {
        /// The customer paid: cash.
        case topup
        /// Credit that is given: promo, which is spent first.
        case grant
        /// What was granted ends.
        case expirePromo = "expire_promo"
        /// Cash is paid back to the customer.
        case refund
        /// The customer's bank took a payment back; what is no longer there is written off.
        case chargeback
        /// A correction of cash by hand.
        case adjust
    }

    public var kind: Kind
    public var project: ID<Project>
    /// What the balance changes by, in nano-USD: above 0 for `topup` and `grant`, below 0 for `expirePromo`, `refund` and `chargeback`.
    public var amount: Int64
    /// The same key again changes nothing; another posting under it is refused.
    public var key: String
    public var reference: String?
    public var memo: String?
    /// Who posted it.
    public var author: String?
    /// Whether a person did it by hand: a project whose ledger is frozen takes no such posting.
    public var isManual: Bool

    public init(
        _ kind: Kind, of amount: Int64, to project: ID<Project>, key: String, reference: String? = nil, memo: String? = nil,
        author: String? = nil, isManual: Bool
    ) {
        self.kind = kind
        self.project = project
        self.amount = amount
        self.key = key
        self.reference = reference
        self.memo = memo
        self.author = author
        self.isManual = isManual
    }
}

/// What a posting led to.
public struct LedgerPosted: Sendable, Equatable {
    public let id: ID<LedgerTransaction>
    /// Whether this call made the transaction, or found it.
    public let isNew: Bool
}

/// Why the ledger refused a posting or a hold; nothing was changed.
public enum LedgerError: Error, Sendable, Equatable {
    /// The sign does not suit the kind, or the amount is 0.
    case unsuitableAmount
    /// There is less than the posting takes.
    case insufficientBalance
    /// The key names another transaction.
    case keyInUse
    /// A violation was found; until somebody has looked nothing is posted by hand.
    case frozen
    case noSuchProject

    init?(_ message: ServerMessage) {
        switch message.constraint {
        case "ledger_post_amount": self = .unsuitableAmount
        case "ledger_accounts_not_below": self = .insufficientBalance
        case "ledger_post_key": self = .keyInUse
        case "ledger_frozen": self = .frozen
        case "ledger_project": self = .noSuchProject
        default: return nil
        }
    }
}

extension LedgerError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .unsuitableAmount: .invalid("amount", "The amount does not suit this kind of posting.")
        case .insufficientBalance: .invalid("amount", "There is less in the balance than this takes.")
        case .keyInUse: .invalid("reference", "Another posting was made under this reference.")
        case .frozen: .invalid("project", "The ledger of this project is frozen until an operator has looked at it.")
        case .noSuchProject: .invalid("project", "There is no such project.")
        }
    }
}
