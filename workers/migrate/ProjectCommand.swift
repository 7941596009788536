import Accounts
import ArgumentParser

struct ProjectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "project", abstract: "Manages projects.", subcommands: [Set.self])

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Creates a project, or renames it.")

        @Option(help: "The project's name in paths and keys.") var slug: String
        @Option(help: "The project's name for people.") var name: String?

        func run() throws {
            try withSettings { settings in
                try printJSON(try settings.system.withConnection { try $0.setProject(slug: slug, name: name, by: .migrate) })
            }
        }
    }
}
