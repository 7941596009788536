import OpenAI
import Postgres
import Tenancy

/// A mail that is kept until it is sent: a row of `mails`.
public enum QueuedMail: Identified { public static let idPrefix = "mail_" }

extension SystemConnection {
    /// Writes a mail in the caller's transaction; the same key again writes nothing.
    public func queueMail(to recipient: String, subject: String, body: String, key: String, of project: ID<Project>?) throws {
        try query(
            """
            INSERT INTO mails (id, project_id, key, recipient, subject, body)
            VALUES (\(ID<QueuedMail>.random()), \(project), \(key), \(recipient), \(subject), \(body)) ON CONFLICT (key) DO NOTHING
            """)
    }
}

/// Sends what is written, each mail at least once: a worker that dies between the server's word and ours sends it again, under the same Message-ID.
/// Several workers share the work.
public struct MailQueue: Sendable {
    private let database: SystemDatabase
    private let mailer: any Mailer
    private let from: String
    private let timeScale: Double

    /// After so many tries, which are more than three days, a mail is given up.
    private static let mostAttempts = 16
    private static let mostDeferred = 3

    public init(database: SystemDatabase, mailer: any Mailer, from: String, timeScale: Double = 1) {
        self.database = database
        self.mailer = mailer
        self.from = from
        self.timeScale = timeScale
    }

    public struct Outcome: Sendable, Equatable {
        public var sent = 0
        /// To be tried again.
        public var deferred = 0
        /// Given up.
        public var failed = 0
        public init() {}
    }

    /// Sends what is due, up to `most` mails; fewer where the server takes none just now, so that whoever calls is not kept by one that is away.
    public func sendDue(most: Int = 100) throws -> Outcome {
        var outcome = Outcome()
        for _ in 0..<most {
            guard let (message, attempts) = try claim() else { break }
            do {
                try mailer.send(message)
            } catch let error as MailError {
                let isOver = error.isFinal || attempts >= Self.mostAttempts
                try note(error, of: message.id, attempts: attempts, isOver: isOver)
                if isOver { outcome.failed += 1 } else { outcome.deferred += 1 }
                if outcome.deferred == Self.mostDeferred { break }
                continue
            }
            try database.withConnection { connection in
                _ = try connection.query("UPDATE mails SET sent_at = now(), last_error = NULL WHERE id = \(message.id)")
            }
            outcome.sent += 1
        }
        return outcome
    }

    /// The next that is due, for ten minutes: far longer than a server is waited for.
    private func claim() throws -> (MailMessage, attempts: Int)? {
        let rows = try database.withConnection { connection in
            try connection.query(
                """
                UPDATE mails SET attempts = attempts + 1, next_attempt_at = now() + interval '10 minutes'
                WHERE id = (
                    SELECT id FROM mails WHERE sent_at IS NULL AND failed_at IS NULL AND next_attempt_at <= now()
                    ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                RETURNING id, recipient, subject, body, attempts, extract(epoch FROM now())::bigint AS now
                """)
        }
        guard let row = rows.first else { return nil }
        let message = MailMessage(
            id: try row.get("id"), from: from, to: try row.get("recipient"), subject: try row.get("subject"), body: try row.get("body"),
            date: try row.get("now"))
        return (message, try row.get("attempts"))
    }

    /// A minute, then ever longer, up to six hours.
    private func note(_ error: MailError, of id: String, attempts: Int, isOver: Bool) throws {
        let seconds = min(21_600, 60 * Double(1 << min(attempts - 1, 10))) * timeScale
        try database.withConnection { connection in
            _ = try connection.query(
                """
                UPDATE mails SET last_error = \(error.description), failed_at = CASE WHEN \(isOver) THEN now() END,
                    next_attempt_at = now() + make_interval(secs => \(seconds))
                WHERE id = \(id)
                """)
        }
    }
}
