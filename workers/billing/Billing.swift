import ArgumentParser

/// The operator's tool for money.
@main
struct BillingTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "billing",
        abstract: "Checks the ledger; tops projects up, asks for payments and grants credit.",
        discussion: "Reads database.url, as the gateway does.",
        subcommands: [Verify.self, TopUp.self, CheckoutCommand.self, Grant.self])
}
