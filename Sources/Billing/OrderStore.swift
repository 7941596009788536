import OpenAI
import Postgres
import Tenancy

extension SystemConnection {
    /// A new open order.
    func makeOrder(
        _ kind: Order.Kind, of project: ID<Project>, provider: String, amount: Int64, reference: String? = nil, by author: String?
    )
        throws -> Order
    {
        try query(
            """
            INSERT INTO orders (id, project_id, provider, kind, amount_nano, reference, created_by)
            VALUES (\(ID<PaymentOrder>.random()), \(project), \(provider), \(kind.rawValue), \(amount), \(reference), \(author))
            RETURNING \(trusted: Order.columns)
            """)[0].order()
    }

    /// The order of this reference, made where there is none, and locked until the transaction ends.
    func order(
        _ kind: Order.Kind, of project: ID<Project>, provider: String, amount: Int64, reference: String, by author: String?
    ) throws -> Order {
        try query(
            """
            INSERT INTO orders (id, project_id, provider, kind, amount_nano, reference, created_by)
            VALUES (\(ID<PaymentOrder>.random()), \(project), \(provider), \(kind.rawValue), \(amount), \(reference), \(author))
            ON CONFLICT (provider, reference) DO NOTHING
            """)
        return try query(
            "SELECT \(trusted: Order.columns) FROM orders WHERE provider = \(provider) AND reference = \(reference) FOR UPDATE"
        )[0].order()
    }

    /// The order a provider speaks of, locked until the transaction ends; nil = it is none of that provider's.
    func lockedOrder(_ id: String, provider: String) throws -> Order? {
        try query(
            "SELECT \(trusted: Order.columns) FROM orders WHERE id = \(id) AND provider = \(provider) FOR UPDATE"
        ).first?.order()
    }

    func noteCheckout(_ id: String, of order: ID<PaymentOrder>, in project: ID<Project>) throws {
        try query("UPDATE orders SET checkout_id = \(id), updated_at = now() WHERE id = \(order) AND project_id = \(project)")
    }

    func markPaid(_ order: Order, payment: String, transaction: String) throws -> Order {
        try query(
            """
            UPDATE orders SET state = 'paid', payment_id = \(payment), ledger_tx_id = \(transaction), paid_at = now(), updated_at = now()
            WHERE id = \(order.id) AND project_id = \(order.projectID) RETURNING \(trusted: Order.columns)
            """)[0].order()
    }

    func markFailed(_ order: Order) throws {
        try query(
            "UPDATE orders SET state = 'failed', updated_at = now() WHERE id = \(order.id) AND project_id = \(order.projectID) AND state = 'open'"
        )
    }

    /// Keeps a provider's event; false = it was kept before. A second one waits until the transaction of the first has ended.
    func keepEvent(_ event: ProviderEvent, of provider: String) throws -> Bool {
        try !query(
            """
            INSERT INTO provider_events (provider, id, type) VALUES (\(provider), \(event.id), \(event.type))
            ON CONFLICT (provider, id) DO NOTHING RETURNING 1
            """
        ).isEmpty
    }

    func noteOutcome(_ outcome: String, of event: ProviderEvent, _ provider: String) throws {
        try query("UPDATE provider_events SET outcome = \(outcome) WHERE provider = \(provider) AND id = \(event.id)")
    }

    /// The provider's name of the project; nil = it does not know it yet.
    func customer(of project: ID<Project>, at provider: String) throws -> String? {
        try query("SELECT customer_id FROM provider_customers WHERE project_id = \(project) AND provider = \(provider)").first?.get(
            "customer_id")
    }

    func keepCustomer(_ customer: String, of project: ID<Project>, at provider: String) throws {
        try query(
            """
            INSERT INTO provider_customers (project_id, provider, customer_id) VALUES (\(project), \(provider), \(customer))
            ON CONFLICT (project_id, provider) DO NOTHING
            """)
    }
}

extension Order {
    fileprivate static let columns = """
        id, project_id, provider, kind, amount_nano, state, reference, payment_id, ledger_tx_id,
        extract(epoch FROM created_at)::bigint AS created, extract(epoch FROM paid_at)::bigint AS paid
        """
}

extension Row {
    fileprivate func order() throws -> Order {
        guard let kind = Order.Kind(rawValue: try get("kind")), let state = Order.State(rawValue: try get("state")) else {
            throw PostgresError.column("state", problem: "is not a state of orders")
        }
        return Order(
            id: try get("id"), projectID: try get("project_id"), provider: try get("provider"), kind: kind, amount: try get("amount_nano"),
            state: state, reference: try optional("reference"), paymentID: try optional("payment_id"),
            transactionID: try optional("ledger_tx_id"), createdAt: try get("created"), paidAt: try optional("paid"))
    }
}
