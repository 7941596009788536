import Agents
import ArgumentParser
import OpenAI

/// Join keys of the agents that serve all projects of their tiers.
struct JoinKeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join-key", abstract: "Manages join keys of shared agents, which serve all projects of their tiers.",
        subcommands: [Create.self, Revoke.self, List.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a key that enrols one agent; its value is shown only here.")

        @Option(help: "What the key is for, 1 to 64 characters.") var name: String?
        @Option(help: "Comma list of the agent's tiers; without it that of its accelerators, and free.") var tiers: String?
        @Option(help: "Where the agent is, 1 to 24 characters; without it the deployment's.") var region: String?
        @Option(help: "The most requests at a time, 0 to 4096; 0 = as many as its engine has places.") var maxConcurrent = 0
        @Option(help: "Hours until the key expires, 1 to 720.") var expiresInHours = 24

        func validate() throws {
            if let name, !(1...64).contains(name.count) { throw ValidationError("--name has 1 to 64 characters.") }
            if let region, region.wholeMatch(of: /[!-9;-~]{1,24}/) == nil {
                throw ValidationError("--region has 1 to 24 ASCII characters without spaces and colons.")
            }
            guard NewJoinKey.concurrency.contains(maxConcurrent) else {
                throw ValidationError("--max-concurrent is from 0 to 4096, not \(maxConcurrent).")
            }
            guard NewJoinKey.expiryHours.contains(expiresInHours) else {
                throw ValidationError("--expires-in-hours is from 1 to 720, not \(expiresInHours).")
            }
        }

        func run() throws {
            var new = NewJoinKey()
            new.name = name
            new.region = region
            new.maxConcurrent = maxConcurrent
            new.lifetime = expiresInHours * 3_600
            new.supportedTiers = tiers.map { $0.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } }
            guard new.supportedTiers.map({ (1...16).contains($0.count) }) ?? true else {
                throw ValidationError("--tiers names 1 to 16 tiers.")
            }
            try withSettings { settings in
                try printJSON(settings.system.withConnection { try $0.createSharedJoinKey(new, by: .migrate) })
            }
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Ends a key that has enrolled nobody.")

        @Option(help: "The key's identifier, jk_….") var id: String

        func run() throws {
            guard let key = ID<JoinKey>(id) else { throw ValidationError("--id is not the identifier of a join key (jk_…).") }
            try withSettings { settings in
                try printJSON(settings.system.withConnection { try $0.revokeSharedJoinKey(key, by: .migrate) })
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the keys, the newest first.")

        func run() throws {
            try withSettings { settings in try printJSON(settings.system.withConnection { try $0.sharedJoinKeys() }) }
        }
    }
}

/// The agents themselves.
struct AgentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent", abstract: "Manages shared agents, which serve all projects of their tiers.",
        subcommands: [Change.self, List.self])

    struct Change: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set", abstract: "Suspends or activates an agent, drains it, cuts it off until it enrols again, or removes it.")

        @Option(help: "The agent's identifier, agt_….") var id: String
        @Option(help: "suspend, activate, drain, revoke-credentials or remove.") var step: Step

        func run() throws {
            guard let agent = ID<Agent>(id) else { throw ValidationError("--id is not the identifier of an agent (agt_…).") }
            try withSettings { settings in
                try printJSON(settings.system.withConnection { try $0.changeSharedAgent(agent, step.agentStep, by: .migrate) })
            }
        }
    }

    enum Step: String, ExpressibleByArgument {
        case suspend, activate, drain, remove
        case revokeCredentials = "revoke-credentials"

        var agentStep: AgentStep {
            switch self {
            case .suspend: .suspend
            case .activate: .activate
            case .drain: .drain(seconds: Self.drainSeconds)
            case .remove: .remove(drainSeconds: Self.drainSeconds)
            case .revokeCredentials: .revokeCredentials
            }
        }

        /// That what runs may go on.
        private static let drainSeconds = Double(AgentBodies.usualDrain)
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the agents, the newest first.")

        func run() throws {
            try withSettings { settings in try printJSON(settings.system.withConnection { try $0.sharedAgents() }) }
        }
    }
}
