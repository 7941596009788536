import OpenAI

/// What one request has taken of its project's credit, in nano-USD. It belongs to the request's thread, and ends with exactly one of `settled`,
/// `giveBack` and `lose`.
public final class RequestCredit {
    private let credit: Credit
    let payer: CreditPayer
    let requestID: String
    public private(set) var hold: ID<CreditHold>
    /// Whether the hold is shared with others, rather than this request's own.
    private(set) var isLease: Bool
    public private(set) var held: Int64
    /// The hard cap that leaves the project less than its balance does, as far as is known; nil = none.
    public internal(set) var limit: BudgetLimit?
    /// For a request under a cap with a scope, which nobody else's figures tell: what was left to it after the last hold.
    var rest: Int64?

    init(_ credit: Credit, _ payer: CreditPayer, _ requestID: String, hold: ID<CreditHold>, isLease: Bool, held: Int64, limit: BudgetLimit?)
    {
        self.credit = credit
        self.payer = payer
        self.requestID = requestID
        self.hold = hold
        self.isLease = isLease
        self.held = held
        self.limit = limit
    }

    var project: ID<Project> { payer.project }
    /// What a hold of its own is.
    var kind: CreditHoldKind { .request(requestID, endpoint: payer.endpoint, key: payer.key) }

    /// Takes `want` more, or what is there if that is less, but nothing if it is less than `least`.
    /// - Returns: what was added.
    /// - Throws: when the ledger had to be asked and did not answer.
    public func grow(want: Int64, least: Int64) throws -> Int64 { try credit.grow(self, want: want, least: least) }

    /// What the project could pay for this request altogether. A figure below `needed` is at most a second old.
    public func payable(needed: Int64) throws -> Int64 {
        try held + credit.balance(for: self, needed: needed - held)
    }

    /// The settlement is durable: what was not used is free again.
    public func settled(cost: Int64) { credit.settled(self, cost: cost) }

    /// The request was refused before it began.
    public func giveBack() { credit.giveBack(self) }

    /// The settlement may or may not be durable.
    public func lose() { credit.lost(self) }

    func add(_ amount: Int64) { held += amount }

    func move(to hold: ID<CreditHold>, held: Int64) {
        self.hold = hold
        self.held = held
        isLease = false
    }
}
