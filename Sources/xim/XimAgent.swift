import ArgumentParser

/// The program that customers run beside their models: it enrols, dials out to the router, and keeps its place there.
@main
struct XimAgent: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xerotier-xim-agent", abstract: "Connects a machine with models to the platform, from inside out.",
        discussion: "Keeps what it is in ~/.config/xerotier. Every flag has a variable: --join-key is XEROTIER_AGENT_JOIN_KEY, and so on.",
        version: "1.0.0", subcommands: [EnrolCommand.self, RunCommand.self, StatusCommand.self])
}
