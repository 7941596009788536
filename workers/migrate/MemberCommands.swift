import Accounts
import ArgumentParser

struct UserCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "user", abstract: "Manages users.", subcommands: [Set.self])

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Creates a user, or changes what is given.")

        @Option(help: "The user's e-mail address.") var email: String
        @Option(help: "The user's name.") var name: String?
        @Option(help: "operator or admin; an admin is an owner of every project.") var systemRole: UserRecord.SystemRole?

        func run() throws {
            try withSettings { settings in
                try printJSON(
                    settings.system.withConnection {
                        try $0.setUser(email: email, name: name, systemRole: systemRole, by: .migrate)
                    })
            }
        }
    }
}

struct MemberCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "member", abstract: "Manages members of projects.", subcommands: [Set.self])

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a user a member of a project, or changes the role.")

        @Option(help: "Slug of the project.") var project: String
        @Option(help: "The user's e-mail address.") var email: String
        @Option(help: "owner, admin, member or viewer.") var role: ProjectRole

        func run() throws {
            try withProject(project) { connection, settings in
                let user = try settings.system.withConnection { try $0.requireUser(email: email) }
                try printJSON(connection.setMember(user, role: role, by: .migrate))
            }
        }
    }
}

extension UserRecord.SystemRole: ExpressibleByArgument {}
extension ProjectRole: ExpressibleByArgument {}
