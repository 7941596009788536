import JSON
import OpenAI
import Postgres
import Server
import Tenancy

/// A project's money, in nano-USD.
struct Balance: Sendable, Equatable {
    var cash: Int64
    var promo: Int64
    var held: Int64
    /// How far below 0 cash may go.
    var postPayLimit: Int64
    /// What may still be spent: cash, promo and the post-pay limit, without what is held.
    var available: Int64 { max(0, cash.addingReportingOverflow(promo).partialValue.addingReportingOverflow(postPayLimit).partialValue) }

    var json: [UInt8] {
        var json = JSONWriter(capacity: 256)
        json.raw(#"{"object":"billing.balance","available":"#)
        json.string(NanoUSD.text(available))
        json.raw(#","held":"#)
        json.string(NanoUSD.text(held))
        json.raw(#","promo":"#)
        json.string(NanoUSD.text(promo))
        json.raw(#","cash":"#)
        json.string(NanoUSD.text(cash))
        json.raw(#","currency":"USD","post_pay_limit":"#)
        json.string(NanoUSD.text(postPayLimit))
        json.raw("}" as StaticString)
        return json.bytes
    }
}

/// One movement on one of the project's accounts.
struct LedgerLine: Sendable {
    /// The transaction's identifier and the entry's number in it, `le_….1`.
    var id: String
    var transaction: String
    var account: String
    var kind: String
    var amount: Int64
    var balanceAfter: Int64
    var reference: String?
    var memo: String?
    /// Unix seconds.
    var created: Int

    var json: [UInt8] {
        var json = JSONWriter(capacity: 512)
        json.raw(#"{"id":"#)
        json.string(id)
        json.raw(#","object":"ledger.entry","transaction_id":"#)
        json.string(transaction)
        json.raw(#","kind":"#)
        json.string(kind)
        json.raw(#","account":"#)
        json.string(account)
        json.raw(#","amount":"#)
        json.string(NanoUSD.text(amount))
        json.raw(#","balance_after":"#)
        json.string(NanoUSD.text(balanceAfter))
        json.raw(#","currency":"USD","reference":"#)
        json.string(reference)
        json.raw(#","memo":"#)
        json.string(memo)
        json.raw(#","created_at":"#)
        json.integer(created)
        json.raw("}" as StaticString)
        return json.bytes
    }
}

extension TenantConnection {
    func balance() throws -> Balance {
        let rows = try query(
            "SELECT kind, balance_nano, allow_negative_to_nano FROM ledger_accounts WHERE project_id = \(project)")
        var balance = Balance(cash: 0, promo: 0, held: 0, postPayLimit: 0)
        for row in rows {
            let amount: Int64 = try row.get("balance_nano")
            switch try row.get("kind", as: String.self) {
            case "cash":
                balance.cash = amount
                balance.postPayLimit = try row.get("allow_negative_to_nano")
            case "promo": balance.promo = amount
            default: balance.held = amount
            }
        }
        return balance
    }

    /// The newest first: by time, transaction and number.
    func ledgerEntries(_ list: ListQuery, _ filter: LedgerFilter) throws -> ListPage<LedgerLine> {
        let after = try place(of: list.after, "after")
        let before = try place(of: list.before, "before")
        let rows = try query(
            """
            SELECT t.id, e.seq, a.kind AS account, t.kind, e.amount_nano, e.balance_after_nano, t.reference, t.memo,
                extract(epoch FROM t.created_at)::bigint AS created
            FROM ledger_transactions t
            JOIN ledger_entries e ON e.tx_id = t.id
            JOIN ledger_accounts a ON a.id = e.account_id AND a.project_id = t.project_id
            WHERE t.project_id = \(project)
                AND (\(filter.kind)::text IS NULL OR t.kind = \(filter.kind)::ledger_kind)
                AND (\(filter.from)::bigint IS NULL OR t.created_at >= to_timestamp(\(filter.from)))
                AND (\(filter.to)::bigint IS NULL OR t.created_at < to_timestamp(\(filter.to)))
                AND (\(after?.at)::timestamptz IS NULL OR (t.created_at, t.id, e.seq) \(trusted: list.afterSide)
                    (\(after?.at)::timestamptz, \(after?.id)::text, \(after?.seq)::smallint))
                AND (\(before?.at)::timestamptz IS NULL OR (t.created_at, t.id, e.seq) \(trusted: list.beforeSide)
                    (\(before?.at)::timestamptz, \(before?.id)::text, \(before?.seq)::smallint))
            ORDER BY t.created_at \(trusted: list.direction), t.id \(trusted: list.direction), e.seq \(trusted: list.direction)
            LIMIT \(list.rows)
            """)
        return list.page(try rows.map(LedgerLine.init))
    }

    private struct Place {
        var at: String
        var id: String
        var seq: Int
    }

    /// Where a line stands that a client names.
    private func place(of cursor: String?, _ name: String) throws -> Place? {
        guard let cursor else { return nil }
        let parts = cursor.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let id = ID<LedgerTransaction>(String(parts[0])), let seq = Int(parts[1]), (1...9).contains(seq),
            let row = try query("SELECT created_at FROM ledger_transactions WHERE id = \(id) AND project_id = \(project)").first
        else { throw ListQuery.badCursor(name) }
        return Place(at: try row.get("created_at"), id: id.description, seq: seq)
    }
}

extension LedgerLine {
    fileprivate init(_ row: Row) throws {
        transaction = try row.get("id")
        id = "\(transaction).\(try row.get("seq", as: Int.self))"
        account = try row.get("account")
        kind = try row.get("kind")
        amount = try row.get("amount_nano")
        balanceAfter = try row.get("balance_after_nano")
        reference = try row.optional("reference")
        memo = try row.optional("memo")
        created = try row.get("created")
    }
}
