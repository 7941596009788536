import ArgumentParser
import Foundation
import Supervision

/// The program that customers run beside their models: it enrols, dials out to the router, and keeps its place there.
@main
struct XimAgent: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xerotier-xim-agent", abstract: "Connects a machine with models to the platform, from inside out.",
        discussion: """
            Keeps what it is in ~/.config/xerotier. Every flag has a variable: --join-key is XEROTIER_AGENT_JOIN_KEY, and so on; flags come before
            variables, and those before \(AgentVariable.file). Without a command it runs, and enrols before where it has not and there is a join key.
            """,
        version: "1.0.0", subcommands: [EnrolCommand.self, RunCommand.self, StatusCommand.self])

    func run() throws {
        if try StateDirectory().enrolment() == nil {
            guard try SettingSource(flags: [:]).settings().joinKey != nil else {
                throw AgentProblem(
                    "not enrolled, and there is no join key: XEROTIER_AGENT_JOIN_KEY, or `xerotier-xim-agent enroll --join-key ...`")
            }
            try EnrolCommand.parse([]).run()
        }
        try RunCommand.parse([]).run()
    }

    /// A setting that cannot be is 2, so that who starts agents can tell it from what may pass.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as SettingError { refuse(error) } catch let error as AgentVariable.UnknownFlag { refuse(error) } catch {
            exit(withError: error)
        }
    }

    private static func refuse(_ error: any Error) -> Never {
        FileHandle.standardError.write(Data("Error: \(error)\n".utf8))
        Foundation.exit(2)
    }
}
