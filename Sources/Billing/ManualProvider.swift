import OpenAI

/// Payment outside of the platform, such as by bank transfer: a checkout leaves an open order, and the operator marks it paid.
public struct ManualProvider: PaymentProvider {
    public let name = "manual"

    public init() {}

    public func createCustomer(project: ID<Project>, name: String) -> String { project.description }
    public func createCheckout(_ order: Order, customer: String?, returnURL: String) -> Checkout {
        Checkout(id: order.id.description, url: nil)
    }
    public func createPortal(customer: String, returnURL: String) throws -> String { throw notOffered }
    public func attachMethod(_ method: String, to customer: String) throws { throw notOffered }
    public func detachMethod(_ method: String) throws { throw notOffered }
    public func setDefault(_ method: String, of customer: String) throws { throw notOffered }
    public func charge(_ order: Order, customer: String, method: String) throws -> String { throw notOffered }
    public func refund(payment: String, amount: Int64, key: String) throws -> String { throw notOffered }
    public func verifyWebhook(_ body: [UInt8], signature: String?, at time: Int) throws -> ProviderEvent { throw notOffered }

    private var notOffered: PaymentError { .notOffered(provider: name) }
}
