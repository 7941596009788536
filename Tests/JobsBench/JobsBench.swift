import ArgumentParser
import Configuration
import Foundation
import Jobs
import Postgres
import Tenancy
import Worker

/// Made-up jobs whose effect is a row of `job_effects`, which the one who tests makes: for faults, and to measure what a job costs.
@main
struct JobsBench: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "jobs-bench", subcommands: [Enqueue.self, Work.self])

    static let queue = JobQueue("bench")

    struct Payload: Codable {
        var number: Int
        /// Unix seconds of when it was written, by this machine's clock.
        var at: Double
        var milliseconds: Int
        var failsOnce: Bool
    }

    /// Writes jobs, several in a transaction, and prints how many a second.
    struct Enqueue: ParsableCommand {
        @Option var jobs = 1_000
        @Option(help: "The number of the first one.") var first = 0
        @Option(help: "Jobs of one transaction.") var together = 1
        @Option(help: "Milliseconds between two transactions.") var pause = 0.0
        @Option(help: "Milliseconds that each job takes.") var milliseconds = 0
        @Option(help: "Of so many jobs one fails at first; 0 = none.") var failing = 0

        func run() throws {
            let process = try WorkerProcess("jobs-bench", connections: 1)
            let start = ContinuousClock.now
            var number = first
            while number < jobs {
                try process.database.transaction { connection in
                    for _ in 0..<min(together, jobs - number) {
                        let payload = Payload(
                            number: number, at: Date().timeIntervalSince1970, milliseconds: milliseconds,
                            failsOnce: failing > 0 && number % failing == 0)
                        var job = try NewJob(JobsBench.queue, "bench", payload)
                        job.lane = "lane-\(number % 10)"
                        job.maxAttempts = 1_000
                        try connection.enqueue(job, of: nil)
                        number += 1
                    }
                }
                if pause > 0 { usleep(useconds_t(pause * 1_000)) }
            }
            print(Double(jobs - first) / ((ContinuousClock.now - start) / .seconds(1)))
        }
    }

    /// Does them until SIGTERM.
    struct Work: ParsableCommand {
        @Option var threads = 8

        func run() throws {
            let process = try WorkerProcess("jobs-bench")
            try process.work(
                JobsBench.queue, process.options(threads: threads),
                [
                    JobHandler("bench") { run in
                        let started = Date().timeIntervalSince1970
                        let payload: Payload = try run.job.payload()
                        if payload.milliseconds > 0 { usleep(useconds_t(payload.milliseconds * 1_000)) }
                        if payload.failsOnce && run.job.attempt == 1 { throw JobFailure.retry("It fails at first.") }
                        try run.complete { connection in
                            try connection.query(
                                "INSERT INTO job_effects (number, attempt, waited) VALUES (\(payload.number), \(run.job.attempt), \(started - payload.at))"
                            )
                        }
                    }
                ])
        }
    }
}
