import ArgumentParser
import Catalog
import Postgres
import Tenancy

struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Applies the migrations that are missing and makes the partitions of the next months.")

    @Option(help: "Directory of the migrations.")
    var migrations = "infra/postgres/migrations"

    /// This month and a year beyond it.
    private static let monthsAhead = 12

    private struct Answer: Encodable {
        var applied: [String]
        /// Upstream keys that were still stored in the form before there were data keys.
        var resealed: Int
    }

    func run() throws {
        let files = try Migrations(directory: migrations)
        try withSettings { settings in
            let connection = try settings.connectAsOwner()
            try DatabaseRole.check(on: connection)
            let applied = try files.apply(on: connection)
            try connection.query("SELECT create_usage_partitions(now(), \(Self.monthsAhead)::integer)")
            let resealed = try settings.system.withConnection {
                try $0.resealUpstreamKeys(from: settings.legacyEnvelope, to: settings.sealing)
            }
            try printJSON(Answer(applied: applied, resealed: resealed))
        }
    }
}
