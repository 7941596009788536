import Crypto
import Foundation
import Jobs
import Mail
import OpenAI
import Postgres
import Tenancy

/// What the worker does: each job is one delivery, and each attempt one call. An event is sent at least once, always under the same identifier: a
/// worker that dies between the call and its commit has it sent again.
public struct WebhookDeliveries: Sendable {
    private let database: SystemDatabase
    private let sealing: Sealing
    private let sender: WebhookSender
    private let timeScale: Double

    /// The most calls to one webhook at a time, once its server has taken one quickly.
    private static let mostAtOnce = 8
    /// The most before that, and while it is slow.
    private static let mostOfUnproven = 2
    private static let mostOfFailing = 1
    /// A server that takes longer than this is slow.
    private static let slowMilliseconds = 1_000

    /// Half of the threads are for servers that are known to be quick: a call to one that hangs holds its thread for ten seconds.
    public static func lanes(ofThreads threads: Int) -> Worker.LaneLimits {
        Worker.LaneLimits(most: mostOfUnproven, together: max(1, threads / 2))
    }

    public init(database: SystemDatabase, sealing: Sealing, sender: WebhookSender, timeScale: Double) {
        self.database = database
        self.sealing = sealing
        self.sender = sender
        self.timeScale = timeScale
    }

    public var handlers: [JobHandler] { [JobHandler("deliver", deliver)] }

    private struct Payload: Decodable { var delivery: String }

    private struct Task {
        var delivery: String
        var webhook: ID<Webhook>
        var attempt: Int
        var letter: WebhookSender.Letter
    }

    private func deliver(_ run: JobRun) throws {
        let payload: Payload = try run.job.payload()
        guard let task = try begin(payload.delivery) else { return try run.complete { try $0.giveUpDelivery(payload.delivery) } }
        let answer = sender.send(task.letter)
        let attempt = task.attempt + 1
        if answer.attempt.isSuccess {
            let isSlow = answer.attempt.durationMilliseconds > Self.slowMilliseconds
            return try run.complete { connection in
                try connection.noteAttempt(answer.attempt, of: task.delivery, status: "succeeded", next: nil)
                try connection.noteSuccess(of: task.webhook, atOnce: isSlow ? Self.mostOfUnproven : Self.mostAtOnce)
            }
        }
        let isGone = answer.attempt.statusCode == 410
        let pause = DeliverySchedule.pause(after: attempt, retryAfter: answer.retryAfter, chance: .random(in: 0...1))
        let failing = DeliverySchedule.failingSeconds * timeScale
        if let pause, !isGone {
            let seconds = pause * timeScale
            try run.again(after: seconds, "The receiver did not take it.") { connection in
                try connection.noteAttempt(answer.attempt, of: task.delivery, status: "retrying", next: seconds)
                try connection.noteFailure(of: task.webhook, isGone: false, failingSeconds: failing, atOnce: Self.mostOfFailing)
            }
        } else {
            try run.complete { connection in
                try connection.noteAttempt(answer.attempt, of: task.delivery, status: "exhausted", next: nil)
                try connection.noteFailure(of: task.webhook, isGone: isGone, failingSeconds: failing, atOnce: Self.mostOfFailing)
            }
        }
    }

    /// nil = there is nothing to send any more: the webhook is switched off or deleted, or the event is too old. It does not wait for the disk.
    private func begin(_ delivery: String) throws -> Task? {
        let row = try database.withConnection { connection in
            try connection.query(
                """
                UPDATE webhook_deliveries d SET status = 'delivering'
                FROM webhooks w, outbox e, set_config('synchronous_commit', 'off', true)
                WHERE d.id = \(delivery) AND d.status IN ('pending', 'delivering', 'retrying') AND w.id = d.webhook_id AND e.id = d.event_id
                    AND w.active AND w.deleted_at IS NULL
                RETURNING d.project_id, d.webhook_id, d.event_id, d.event_type, d.attempt, w.url, w.budget_id IS NOT NULL AS is_flat, w.secret,
                    CASE WHEN w.previous_secret_until > now() THEN w.previous_secret END AS previous_secret, e.payload,
                    extract(epoch FROM e.created_at)::bigint AS created_at
                """
            ).first
        }
        guard let row else { return nil }
        let project: ID<Project> = try row.get("project_id")
        let webhook: ID<Webhook> = try row.get("webhook_id")
        let event = WebhookEnvelope(
            id: try row.get("event_id"), type: try row.get("event_type"), createdAt: try row.get("created_at"), project: project)
        let data: [UInt8] = try row.get("payload")
        let letter = WebhookSender.Letter(
            project: project, url: try row.get("url"), eventID: event.id,
            body: try row.get("is_flat", as: Bool.self) ? data : event.json(data: data),
            secrets: try StoredSecrets(row, of: webhook).open(project, sealing))
        return Task(delivery: delivery, webhook: webhook, attempt: try row.get("attempt"), letter: letter)
    }
}

extension SystemConnection {
    /// Deletes up to `most` deliveries that are older than so many seconds; answers how many.
    public func forgetDeliveries(olderThan seconds: Double, most: Int) throws -> Int {
        try query(
            """
            DELETE FROM webhook_deliveries WHERE id IN (
                SELECT id FROM webhook_deliveries WHERE created_at < now() - make_interval(secs => \(seconds)) LIMIT \(most) FOR UPDATE SKIP LOCKED)
            RETURNING 1
            """
        ).count
    }

    /// - Parameter next: seconds until the next attempt; nil = none.
    fileprivate func noteAttempt(_ attempt: DeliveryAttempt, of delivery: String, status: String, next: Double?) throws {
        try query(
            """
            UPDATE webhook_deliveries SET status = \(status), attempt = attempt + 1, attempts = attempts || \(json: Array(try JSONEncoder().encode(attempt)))::jsonb,
                next_attempt_at = now() + make_interval(secs => \(next)), delivered_at = CASE WHEN \(status) = 'succeeded' THEN now() END
            WHERE id = \(delivery)
            """)
    }

    fileprivate func giveUpDelivery(_ delivery: String) throws {
        try query(
            """
            UPDATE webhook_deliveries SET status = 'exhausted', next_attempt_at = NULL
            WHERE id = \(delivery) AND status IN ('pending', 'delivering', 'retrying')
            """)
    }

    fileprivate func noteSuccess(of webhook: ID<Webhook>, atOnce most: Int) throws {
        // First the webhook and then its lane, as a failure does: in another order two could wait for each other.
        try query("UPDATE webhooks SET failing_since = NULL WHERE id = \(webhook) AND failing_since IS NOT NULL")
        try limitLane(of: webhook, to: most)
    }

    fileprivate func noteFailure(of webhook: ID<Webhook>, isGone: Bool, failingSeconds: Double, atOnce most: Int) throws {
        let row = try query(
            """
            UPDATE webhooks w SET failing_since = coalesce(w.failing_since, now()),
                active = w.active AND NOT (\(isGone) OR coalesce(w.failing_since < now() - make_interval(secs => \(failingSeconds)), false)),
                disabled_reason = CASE WHEN NOT w.active THEN w.disabled_reason WHEN \(isGone) THEN 'gone'
                    WHEN w.failing_since < now() - make_interval(secs => \(failingSeconds)) THEN 'failing' END
            FROM (SELECT id, active FROM webhooks WHERE id = \(webhook) FOR UPDATE) before
            WHERE w.id = before.id RETURNING w.project_id, w.disabled_reason, before.active AND NOT w.active AS is_off
            """
        ).first
        try limitLane(of: webhook, to: most)
        guard let row, try row.get("is_off", as: Bool.self), let reason: String = try row.optional("disabled_reason") else { return }
        try query("UPDATE webhooks SET generation = generation + 1, updated_at = now() WHERE id = \(webhook)")
        if reason == "failing" { try mailOwners(of: webhook, try row.get("project_id")) }
    }

    private func limitLane(of webhook: ID<Webhook>, to most: Int) throws {
        try query(
            """
            INSERT INTO job_lanes (queue, lane, most_running)
            SELECT \(JobQueue.webhooks.name), id, \(most) FROM webhooks w WHERE id = \(webhook) AND deleted_at IS NULL AND NOT EXISTS (
                SELECT 1 FROM job_lanes l WHERE l.queue = \(JobQueue.webhooks.name) AND l.lane = w.id AND l.most_running = \(most))
            ON CONFLICT (queue, lane) DO UPDATE SET most_running = excluded.most_running
            """)
    }

    private func mailOwners(of webhook: ID<Webhook>, _ project: ID<Project>) throws {
        let people = try query(
            """
            SELECT u.id, u.email, p.slug, w.generation FROM memberships m JOIN users u ON u.id = m.user_id
            JOIN projects p ON p.id = m.project_id JOIN webhooks w ON w.id = \(webhook)
            WHERE m.project_id = \(project) AND m.role = 'owner' ORDER BY u.id
            """)
        for person in people {
            let slug: String = try person.get("slug")
            try queueMail(
                to: try person.get("email"), subject: "\(slug): a webhook is switched off",
                body: """
                    The webhook \(webhook) of the project \(slug) has failed for five days, and no event was taken in that time.
                    It is switched off: no more events are sent to it.

                    When its server is well again, set `active` to true, and send what was missed again from the list of its deliveries.

                    You get this mail as an owner of the project.

                    """.replacing("\n", with: "\r\n"),
                key: "webhook:\(webhook):\(try person.get("generation", as: Int.self)):\(try person.get("id", as: String.self))",
                of: project)
        }
    }
}
