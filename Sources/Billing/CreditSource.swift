import OpenAI

/// Money that is set aside in the ledger for what is about to be produced (08 §6): a row of `ledger_holds`.
public enum CreditHold: Identified { public static let idPrefix = "hold_" }
/// One balanced set of postings: a row of `ledger_transactions`.
public enum LedgerTransaction: Identified { public static let idPrefix = "le_" }

/// What a hold is for.
public enum CreditHoldKind: Sendable, Equatable {
    /// Many requests of one gateway process share it.
    case lease
    /// One request alone, at an endpoint and with a key.
    case request(_ requestID: String, endpoint: ID<Endpoint>? = nil, key: ID<APIKey>? = nil)

    /// As in the column `kind`.
    public var name: String {
        switch self {
        case .lease: "lease"
        case .request: "request"
        }
    }

    public var requestID: String? {
        switch self {
        case .lease: nil
        case .request(let id, _, _): id
        }
    }

    public var endpoint: ID<Endpoint>? { if case .request(_, let endpoint, _) = self { endpoint } else { nil } }
    public var key: ID<APIKey>? { if case .request(_, _, let key) = self { key } else { nil } }
}

/// What a call of `CreditSource.hold` moved, in nano-USD.
public struct CreditGrant: Sendable, Equatable {
    /// Moved into the hold by this call; 0 when less than `atLeast` was available.
    public var granted: Int64
    /// Left to the project afterwards: promo and cash (and post-pay limit), without what is held, as far as hard caps leave room.
    public var available: Int64
    /// The hard cap that left less than the balance did; nil = none.
    public var limit: BudgetLimit?

    public init(granted: Int64, available: Int64, limit: BudgetLimit? = nil) {
        self.granted = granted
        self.available = available
        self.limit = limit
    }
}

/// The ledger as a gateway draws on it. Each call is one durable transaction; all amounts are nano-USD.
public protocol CreditSource: Sendable {
    /// Moves `want` from the project's balance (promo first) into the hold `id`, or what is available if that is less, but nothing if less
    /// than `atLeast` is available. The hold is made when it is not there, and renewed for 60 s of database time. Hard caps of budgets count as
    /// part of what is available: those without scope for every hold, those with one for a hold of a request in it.
    ///
    /// A call happens once for each `key`: the same key again answers the same grant, so a call of unknown outcome is repeated as it was.
    /// A hold that is no longer open takes nothing: the grant is 0. With a `want` of 0 nothing is moved or renewed: the answer says what is there.
    ///
    /// What a request took of a hold is settled with its usage row (`UsageEvent.commitRow(hold:held:)`): its cost as far as it took, the excess
    /// from the balance as far as there is any, and the remainder is written off. The rest stays in a lease; a hold of kind `request` ends with
    /// the settlement, and its rest goes to the balance. A hold that has ended meanwhile gives nothing: then all of the cost is excess.
    func hold(
        _ id: ID<CreditHold>, kind: CreditHoldKind, of project: ID<Project>, gateway: String, want: Int64, atLeast: Int64, key: String
    ) throws -> CreditGrant

    /// Renews open holds for 60 s; answers those that are no longer open.
    func renew(_ ids: [ID<CreditHold>]) throws -> [ID<CreditHold>]

    /// The hard caps with a scope, as they are now.
    func scopedCaps(of project: ID<Project>) throws -> ScopedCaps

    /// Ends a hold: what is not settled goes back to the balance. Twice is once.
    func release(_ id: ID<CreditHold>) throws
}
