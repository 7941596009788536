import Foundation
import OpenAI
import Server
import Tenancy

/// Money that customers bring: orders, and the ledger's top-ups that follow when they are paid.
public struct TopUps: Sendable {
    private let database: SystemDatabase

    public init(database: SystemDatabase) { self.database = database }

    /// What became of a callback.
    public enum Outcome: String, Sendable, Equatable {
        case credited, known, failed, ignored
        case noSuchOrder = "no_such_order"
        /// What was paid is not what was asked for: nothing is credited, somebody must look.
        case wrongAmount = "wrong_amount"
        /// Another payment for an order that is paid: it is not credited either, and must be given back.
        case paidTwice = "paid_twice"

        public var needsSomebody: Bool { [.noSuchOrder, .wrongAmount, .paidTwice].contains(self) }
    }

    /// Books a payment that the operator has seen, once for each reference: the same again answers the same order and changes nothing.
    ///
    /// - Throws: `PaymentError`, `LedgerError`.
    /// - Returns: the paid order, and whether this call booked it.
    public func book(_ amount: Int64, to project: ID<Project>, reference: String, by author: String?) throws -> (order: Order, isNew: Bool)
    {
        guard Order.manualRange.contains(amount) else {
            throw PaymentError.unsuitableAmount(Order.manualRange)
        }
        guard (1...128).contains(reference.count), reference.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
            throw PaymentError.badReference
        }
        return try database.transaction { connection in
            let order = try connection.order(.topup, of: project, provider: "manual", amount: amount, reference: reference, by: author)
            guard order.projectID == project, order.amount == amount else { throw PaymentError.referenceInUse(reference) }
            guard order.state != .paid else { return (order, false) }
            let posted = try connection.post(
                LedgerPosting(
                    .topup, of: amount, to: project, key: "topup:manual:\(reference)", reference: order.id.description, author: author,
                    isManual: true))
            let paid = try connection.markPaid(order, payment: reference, transaction: posted.id.description)
            try connection.audit(
                AuditEntry(action: "order.book", target: ("order", paid.id.description), after: paid), of: project,
                by: .system(author ?? "system"))
            return (paid, true)
        }
    }

    /// Makes an order and asks the provider for a checkout. Nothing is credited by it.
    public func checkout(
        _ amount: Int64, of project: ID<Project>, name: String, at provider: any PaymentProvider, returnURL: String, by author: String?
    ) throws -> (Order, Checkout) {
        guard Order.topUpRange.contains(amount), amount % NanoUSD.perCent == 0 else {
            throw PaymentError.unsuitableAmount(Order.topUpRange)
        }
        guard (1...2_048).contains(returnURL.utf8.count), let url = URL(string: returnURL), ["http", "https"].contains(url.scheme),
            url.host != nil
        else { throw PaymentError.badReturnURL }
        let customer = try customer(of: project, name: name, at: provider)
        // Before the call and in a transaction of its own, so that its callback finds it whatever happens to us.
        let order = try database.withConnection {
            try $0.makeOrder(.topup, of: project, provider: provider.name, amount: amount, by: author)
        }
        let checkout = try provider.createCheckout(order, customer: customer, returnURL: returnURL)
        try database.withConnection { try $0.noteCheckout(checkout.id, of: order.id, in: project) }
        return (order, checkout)
    }

    /// Acts on a callback, once for each event and once for each payment.
    public func receive(_ event: ProviderEvent, of provider: String) throws -> Outcome {
        try database.transaction { connection in
            guard try connection.keepEvent(event, of: provider) else { return .known }
            let outcome = try act(on: event, of: provider, connection)
            try connection.noteOutcome(outcome.rawValue, of: event, provider)
            return outcome
        }
    }

    private func act(on event: ProviderEvent, of provider: String, _ connection: SystemConnection) throws -> Outcome {
        switch event.meaning {
        case .other: return .ignored
        case .failed(let id):
            guard let order = try connection.lockedOrder(id, provider: provider) else { return .noSuchOrder }
            try connection.markFailed(order)
            return .failed
        case .paid(let id, let payment, let amount):
            guard let order = try connection.lockedOrder(id, provider: provider) else { return .noSuchOrder }
            guard amount == order.amount else { return .wrongAmount }
            if order.state == .paid { return order.paymentID == payment ? .known : .paidTwice }
            let posted = try connection.post(
                LedgerPosting(
                    .topup, of: amount, to: order.projectID, key: "topup:\(payment)", reference: order.id.description, isManual: false))
            _ = try connection.markPaid(order, payment: payment, transaction: posted.id.description)
            return .credited
        }
    }

    private func customer(of project: ID<Project>, name: String, at provider: any PaymentProvider) throws -> String {
        if let known = try database.withConnection({ try $0.customer(of: project, at: provider.name) }) { return known }
        let made = try provider.createCustomer(project: project, name: name)
        return try database.withConnection { connection in
            try connection.keepCustomer(made, of: project, at: provider.name)
            return try connection.customer(of: project, at: provider.name) ?? made
        }
    }
}
