import JSON
import OpenAI
import Server
import Tenancy

/// What a project has and where it went (08 §6): `GET billing/balance` and `GET billing/ledger`. Amounts are dollars as decimal texts, exact.
public struct BillingRoutes: Sendable {
    private let database: TenantDatabase

    public init(database: TenantDatabase) { self.database = database }

    public var all: [Route] {
        [
            Route(.get, "billing/balance", [.host, .project], .management, meter: .none, balance),
            Route(.get, "billing/ledger", [.host, .project], .management, meter: .none, ledger),
        ]
    }

    private func balance(_ request: Request, _ context: Context) throws -> Response {
        let balance = try database.withConnection(of: context.principal.projectID) { try $0.balance() }
        return .json(balance.json)
    }

    private func ledger(_ request: Request, _ context: Context) throws -> Response {
        let list = try ListQuery(request.query)
        let filter = try LedgerFilter(request.query)
        let page = try database.withConnection(of: context.principal.projectID) { try $0.ledgerEntries(list, filter) }
        return Response.list(page) { (id: $0.id, json: $0.json) }
    }
}

/// Which entries are wanted; nil = all.
struct LedgerFilter: Sendable, Equatable {
    var kind: String?
    /// Unix seconds, from this one on.
    var from: Int?
    /// Unix seconds, before this one.
    var to: Int?

    static let kinds = [
        "topup", "grant", "hold", "release", "settle", "node_hour", "subscription", "refund", "chargeback", "adjust", "expire_promo",
    ]

    init(_ query: Query) throws {
        kind = query["kind"]
        if let kind, !Self.kinds.contains(kind) {
            throw APIError.invalid("kind", "'kind' must be one of \(Self.kinds.joined(separator: ", ")).")
        }
        from = try Self.second("from", query)
        to = try Self.second("to", query)
        if let from, let to, to < from { throw APIError.invalid("to", "'to' must not be before 'from'.") }
    }

    private static func second(_ name: String, _ query: Query) throws -> Int? {
        guard let text = query[name] else { return nil }
        // The end of the year 9999.
        guard let second = Int(text), (0...253_402_300_799).contains(second) else {
            throw APIError.invalid(name, "'\(name)' must be a time in unix seconds.")
        }
        return second
    }
}
