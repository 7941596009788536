import ArgumentParser

/// Brings the schema up to date, and is the operator's tool for projects, keys, endpoints and tiers.
@main
struct Migrate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Brings the database up to date; manages projects, members, keys, data keys, endpoints, tiers, shared agents and jobs.",
        discussion: "Reads database.url, redis.socket and completion.encryption_key, as the gateway does. Answers in JSON.",
        subcommands: [
            Up.self, ProjectCommand.self, KeyCommand.self, UserCommand.self, MemberCommand.self, DataKeysCommand.self,
            EndpointCommand.self, TierCommand.self, JoinKeyCommand.self, AgentCommand.self, AuditCommand.self, JobsCommand.self,
        ])
}
