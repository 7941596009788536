import ArgumentParser
import Jobs
import Notifications
import Worker

/// Delivers events to the servers of customers. Several may run.
@main
struct Webhooks: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delivers events to webhooks, signed, until they are taken; runs until SIGTERM.",
        discussion: "Reads database.url, redis.socket, completion.encryption_key, egress.*, time.scale and worker.metrics_port.")

    @Option(help: "The most calls at a time. Receivers that are new, slow or failing hold half of them at most.") var threads = 64

    func run() throws {
        let process = try WorkerProcess("webhooks", connections: 16)
        let scale = process.configuration.timeScale
        let deliveries = WebhookDeliveries(
            database: process.database, sealing: try process.sealing(),
            sender: WebhookSender(process.outbound(), timeScale: scale), timeScale: scale)
        try process.work(
            .webhooks, process.options(threads: threads, lanes: WebhookDeliveries.lanes(ofThreads: threads)), deliveries.handlers)
    }
}
