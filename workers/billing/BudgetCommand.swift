import ArgumentParser
import Billing
import Configuration
import Foundation
import Mail
import Tenancy

/// One round of the work for budgets: what the worker does each minute.
struct BudgetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "budgets", abstract: "Fires the thresholds of budgets that are reached, and sends the mails that are due; once.",
        discussion: "Reads database.url, state.dir and mail.*. Answers in JSON.")

    func run() throws {
        let configuration = try Configuration.load()
        try withDatabase { database in
            let done = try BudgetRound(database, configuration).run()
            print(
                "{\"fired\": \(done.fired), \"alerts_mailed\": \(done.alertsMailed), \"mails_sent\": \(done.mails.sent), "
                    + "\"mails_deferred\": \(done.mails.deferred), \"mails_failed\": \(done.mails.failed)}")
        }
    }
}

struct BudgetRound {
    struct Done {
        var fired: Int
        var alertsMailed: Int
        var mails: MailQueue.Outcome
    }

    private let work: BudgetWork
    private let queue: MailQueue

    init(_ database: SystemDatabase, _ configuration: Configuration) throws {
        work = BudgetWork(database: database)
        queue = MailQueue(
            database: database, mailer: try configuration.mailer(), from: configuration.mail.from, timeScale: configuration.timeScale)
    }

    func run() throws -> Done {
        let fired = try work.check()
        var alerts = 0
        while true {
            let written = try work.writeMails()
            alerts += written
            if written == 0 { break }
        }
        return Done(fired: fired, alertsMailed: alerts, mails: try queue.sendDue())
    }
}

extension Configuration {
    /// What takes mails, as the operator set it up.
    func mailer() throws -> any Mailer {
        guard MailMessage.isAddress(mail.from) else { throw Failure("mail.from: '\(mail.from)' is no address") }
        switch mail.driver {
        case "smtp":
            guard !mail.url.isEmpty else { throw Failure("mail.url: missing, such as smtp://mail.example.com:587") }
            return SMTPMailer(url: mail.url, user: mail.user, password: mail.password, needsTLS: mail.tls == "required")
        default: return MailSpool(directory: mail.spool.isEmpty ? stateDirectory + "/mail" : mail.spool)
        }
    }
}
