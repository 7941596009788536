import ArgumentParser
import Jobs
import Logging
import OpenAI
import Redis
import Server
import Tenancy

/// How the queues stand, and what to do with jobs that are dead.
struct JobsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs", abstract: "Shows queues of jobs; lists dead jobs and lets them run again.",
        subcommands: [Show.self, Dead.self, Replay.self], defaultSubcommand: Show.self)

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How many jobs wait, are ready, run and are dead in each queue, and for how long the oldest has been ready.")

        func run() throws {
            try withSettings { settings in try printJSON(settings.system.withConnection { try $0.jobQueues() }) }
        }
    }

    struct Dead: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Jobs that failed for good, with the reason; the newest first.")

        @Option(help: "Of this queue alone.") var queue: String?
        @Option(help: "How many at most.") var limit = 100

        func run() throws {
            try withSettings { settings in
                try printJSON(settings.system.withConnection { try $0.deadJobs(of: queue, most: max(1, limit)) })
            }
        }
    }

    struct Replay: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Gives dead jobs all their attempts again. Prints which.")

        @Option(help: "The job.") var id: String?
        @Option(help: "All dead jobs of this queue.") var queue: String?

        func validate() throws {
            if (id == nil) == (queue == nil) { throw ValidationError("Give either --id or --queue.") }
            if let id, ID<QueuedJob>(id) == nil { throw ValidationError("--id: '\(id.prefix(64))' is no identifier of a job.") }
        }

        private struct Answer: Encodable { var replayed: [ID<QueuedJob>] }

        func run() throws {
            try withSettings { settings in
                let replayed = try settings.system.transaction { connection in
                    let replayed = try connection.replayJobs(id.flatMap { ID<QueuedJob>($0) }, of: queue)
                    if !replayed.isEmpty {
                        try connection.audit(
                            AuditEntry(
                                action: "job.replay", target: ("job", id ?? "queue \(queue ?? "")"), after: ["jobs": replayed.count]),
                            by: .migrate)
                    }
                    return replayed
                }
                if let id, replayed.isEmpty { throw Failure("--id: \(id) is no dead job.") }
                try printJSON(Answer(replayed: replayed))
            }
        }
    }
}
