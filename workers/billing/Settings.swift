import Accounts
import ArgumentParser
import Billing
import Configuration
import Foundation
import OpenAI
import Postgres
import Tenancy

/// A failure as the operator reads it.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

extension ParsableCommand {
    /// Runs `body` with the database and words its errors for the command line.
    func withDatabase(_ body: (SystemDatabase) throws -> Void) throws {
        let configuration = try Configuration.load()
        if configuration.databaseURL.isEmpty { throw Failure("database.url: missing (XEROTIER_DATABASE_URL)") }
        var options = ConnectionOptions()
        options.applicationName = "billing"
        // A check reads the whole ledger.
        options.statementTimeoutMilliseconds = 600_000
        do {
            try body(SystemDatabase(url: configuration.databaseURL, size: 1, options: options))
        } catch let error as APIErrorConvertible {
            throw Failure(error.apiError.message)
        } catch let error as PostgresError where error.sqlState == "42P01" {
            throw Failure("The database has no ledger yet: run `migrate up` first.")
        }
    }
}

/// `--project` and `--usd`, as several commands have them.
struct Payment: ParsableArguments {
    @Option(help: "Slug of the project.") var project: String
    @Option(help: "Dollars, such as 25 or 0.50.") var usd: String

    /// A hundred million: more is a slip of the finger.
    private static let most: Int64 = 100_000_000_000_000_000

    func validate() throws {
        guard let nano = NanoUSD.parse(usd), nano > 0 else {
            throw ValidationError("--usd: dollars above 0 are needed, with up to nine decimals, not '\(usd)'.")
        }
        guard nano <= Self.most else { throw ValidationError("--usd: at most \(NanoUSD.text(Self.most)) are posted at a time.") }
    }

    /// Nano-USD.
    var amount: Int64 { NanoUSD.parse(usd) ?? 0 }

    /// Posts it and prints what came of it.
    func post(_ kind: LedgerPosting.Kind, key: String, reference: String?, memo: String, on database: SystemDatabase) throws {
        let id = try database.withConnection { try $0.requireProject(slug: project) }
        let posting = LedgerPosting(
            kind, of: amount, to: id, key: key, reference: reference, memo: memo, author: "billing", isManual: true)
        let posted = try Ledger(database: database).postByHand(posting)
        print(
            "\(posted.isNew ? "posted" : "already posted"): \(kind.rawValue) of \(NanoUSD.text(amount)) USD to \(project), transaction \(posted.id)"
        )
    }
}
