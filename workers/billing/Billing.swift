import ArgumentParser

/// The operator's tool for money.
@main
struct BillingTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "billing",
        abstract: "Checks the ledger, rolls usage up; tops projects up, asks for payments and grants credit.",
        discussion: "Reads database.url, as the gateway does.",
        subcommands: [Verify.self, RollupCommand.self, BudgetCommand.self, Work.self, TopUp.self, CheckoutCommand.self, Grant.self])
}
