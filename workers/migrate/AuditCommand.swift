import Accounts
import ArgumentParser

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "audit", abstract: "Checks the audit log.", subcommands: [Verify.self])

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Recomputes the hash chains; exits with 1 when a row was altered, removed or moved.")

        @Option(help: "Slug of the only project whose chain is checked.") var project: String?

        private struct Answer: Encodable {
            var intact: Bool
            var chains: Int
            var rows: Int
            var faults: [AuditVerdict.Fault]
        }

        func run() throws {
            try withSettings { settings in
                let verdict = try settings.system.withConnection { connection in
                    try connection.verifyAudit(of: try project.map { try connection.requireProject(slug: $0) })
                }
                try printJSON(
                    Answer(intact: verdict.isIntact, chains: verdict.chains, rows: verdict.rows, faults: verdict.faults))
                if !verdict.isIntact { throw ExitCode.failure }
            }
        }
    }
}
