import ArgumentParser

/// The operator's tool for money.
@main
struct BillingTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "billing",
        abstract: "Checks the ledger; tops projects up and grants them credit.",
        discussion: "Reads database.url, as the gateway does.",
        subcommands: [Verify.self, TopUp.self, Grant.self])
}
