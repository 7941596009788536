import Agents
import ArgumentParser
import Configuration
import Worker
import ZeroMQ

/// The router of the mesh: agents dial in to it.
@main
struct MeshCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh", abstract: "Takes connections of enrolled agents and keeps their leases; runs until SIGTERM.",
        discussion: """
            Reads database.url, redis.socket, runtime.dir, mesh.secret_key, mesh.listen, mesh.number, router.seed, time.scale and
            worker.metrics_port.
            """)

    func run() throws {
        let process = try WorkerProcess("mesh")
        guard !process.configuration.mesh.secretKey.isEmpty else {
            throw ConfigurationError("mesh.secret_key: missing (32 bytes in base64)")
        }
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
        let broker = try Broker(
            context: context, keys: keys.curve, address: process.configuration.mesh.listen,
            gatewayAddress: "ipc://" + process.configuration.meshSocket(process.configuration.mesh.number), directory: directory,
            timeScale: process.configuration.timeScale, seed: process.configuration.mesh.seed, metrics: process.metrics,
            logger: process.logger)
        try process.serve { try broker.run(until: $0) }
        withExtendedLifetime(gate) {}
        directory.stop()
    }
}
