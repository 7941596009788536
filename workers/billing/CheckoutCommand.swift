import Accounts
import Addresses
import ArgumentParser
import Billing
import Configuration
import Foundation
import HTTPClient
import Tenancy

struct CheckoutCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkout", abstract: "Makes an order and the page where it is paid; answers in JSON.",
        discussion: "The balance rises when the provider says that it was paid. stripe needs billing.stripe_secret_key.")

    @OptionGroup var payment: Payment
    @Option(help: "Where the customer goes afterwards.") var returnURL: String
    @Option(help: "manual or stripe; else billing.provider.") var provider: String?

    private struct Answer: Encodable {
        var order: Order
        var url: String?
    }

    func run() throws {
        try withDatabase { database in
            let provider = try Self.provider(named: provider)
            let id = try database.withConnection { try $0.requireProject(slug: payment.project) }
            let (order, checkout) = try TopUps(database: database).checkout(
                payment.amount, of: id, name: payment.project, at: provider, returnURL: returnURL, by: "billing")
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(Answer(order: order, url: checkout.url)), as: UTF8.self))
        }
    }

    private static func provider(named name: String?) throws -> any PaymentProvider {
        let configuration = try Configuration.load()
        switch name ?? configuration.billing.provider {
        case "manual": return ManualProvider()
        case "stripe":
            guard !configuration.billing.stripeSecretKey.isEmpty else {
                throw Failure("billing.stripe_secret_key: missing (XEROTIER_BILLING_STRIPE_SECRET_KEY)")
            }
            let outbound = OutboundGuard(
                allowHTTP: configuration.egressAllowHTTP, ports: configuration.egressPorts,
                allowRanges: configuration.egressAllowCIDRs.compactMap { IPRange($0) }, allowHosts: configuration.egressAllowHosts,
                ownHosts: configuration.egressOwnHosts)
            do throws(OutboundRefusal) {
                return try StripeProvider(configuration.billing, outbound: outbound)
            } catch {
                throw Failure("billing.stripe_url: \(error.apiError.message)")
            }
        default: throw ValidationError("--provider: manual or stripe, not '\(name ?? "")'.")
        }
    }
}

extension StripeProvider {
    /// As the operator set it up.
    init(_ settings: Configuration.Billing, outbound: OutboundGuard) throws(OutboundRefusal) {
        try self.init(
            url: settings.stripeURL, secretKey: settings.stripeSecretKey, webhookSecrets: settings.stripeWebhookSecrets, outbound: outbound)
    }
}
