import Agents
import ArgumentParser
import Configuration
import Routing
import Threads
import Worker
import ZeroMQ

/// The router of the mesh: agents dial in to it.
@main
struct MeshProgram: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh", abstract: "The router of the mesh.", subcommands: [MeshCommand.self, ReplayCommand.self],
        defaultSubcommand: MeshCommand.self)
}

struct MeshCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Takes connections of enrolled agents and chooses who answers; runs until SIGTERM.",
        discussion: """
            Reads database.url, redis.socket, runtime.dir, mesh.secret_key, mesh.listen, mesh.number, mesh.addresses, mesh.region, router.file,
            router.seed, time.scale and worker.metrics_port. SIGHUP makes it read the router's file again.
            """)

    func run() throws {
        let process = try WorkerProcess("mesh", takesHangups: true)
        guard !process.configuration.mesh.secretKey.isEmpty else {
            throw ConfigurationError("mesh.secret_key: missing (32 bytes in base64)")
        }
        // One for each call of its gateways.
        OpenFiles.raise()
        let keys = try MeshKeys(secret: process.configuration.mesh.secretKey)
        let directory = AgentDirectory(
            database: process.database, leaseSeconds: process.scaled(Broker.leaseSeconds), logger: process.logger)
        let context = try ZeroMQContext()
        // Before the socket is bound: libzmq lets everybody in without a gate.
        let metrics = process.metrics
        let gate = try ZeroMQGate(context) { peer in
            let worker = directory.workerID(of: peer.key)
            if worker == nil { metrics.count("mesh_refused_total", #"reason="key""#) }
            return worker
        }
        let decisions = DecisionLog(database: process.database, metrics: metrics, logger: process.logger)
        let broker = try Broker(
            context: context, keys: keys.curve, address: process.configuration.mesh.listen,
            gatewayPath: process.configuration.meshSocket(process.configuration.mesh.number),
            routerAddresses: process.configuration.mesh.addresses, directory: directory, region: process.configuration.mesh.region,
            chooser: try Chooser(process.configuration),
            timeScale: process.configuration.timeScale, seed: process.configuration.mesh.seed, decisions: decisions,
            metrics: process.metrics,
            logger: process.logger)
        let (changed, logger) = (broker.changed, process.logger)
        try process.serve {
            do {
                let chooser = try Chooser(process.configuration)
                changed.withLock { $0 = chooser }
                logger.notice("read the router's file again")
            } catch {
                logger.error("the router's file is not taken; it goes on as before", metadata: ["error": "\(error)"])
            }
        } _: {
            try broker.run(until: $0)
        }
        withExtendedLifetime(gate) {}
        directory.stop()
        decisions.stop()
    }
}
