import ArgumentParser
import Configuration
import FastCGI
import Foundation
import Glibc
import Server
import Threads

/// The API process: FastCGI on descriptor 0, one thread for each connection of nginx.
@main struct Gateway: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gateway", abstract: "Serves the API over FastCGI on descriptor 0.", version: Version.text)

    @Flag(help: "Print the effective settings without secrets and exit; 78 when they are wrong.")
    var checkConfig = false

    @Flag(help: "Print all routes, each with who may call it and what it is metered by, and exit.")
    var listRoutes = false

    /// Shorter than the patience of supervisors, which kill what does not end (`stopwaitsecs`, `TimeoutStopSec`: 330 s).
    private static let drainTime = Duration.seconds(300)

    func run() throws {
        let configuration: Configuration
        do {
            configuration = try Configuration.load()
            try configuration.checkGateway()
        } catch let error as ConfigurationError {
            FileHandle.standardError.write(Data("gateway: \(error)\n".utf8))
            throw ExitCode(EX_CONFIG)
        }
        if checkConfig {
            print(configuration.listing)
            return
        }
        if listRoutes {
            for route in try Self.routes(configuration) { print(route.line) }
            return
        }
        try OpenFiles.raise(forThreads: configuration.gateway.threads)
        // Blocked before any thread starts, so that only the thread in sigwait takes them.
        let signals = Signals.block([SIGTERM, SIGINT, SIGHUP])
        prepareForThreads(configuration.gateway.threads)
        if configuration.gateway.role == "uploads" { giveLargeMemoryBack() }
        let front = ThreadedFront(threads: configuration.gateway.threads)
        let assembly = try Assembly(configuration)
        assembly.services.metrics.gauge("connections") { Double(front.connectionCount) }
        startThread("signals") {
            while signals.wait() == SIGHUP { assembly.accessLog.reopen() }
            assembly.services.logger.notice("draining")
            assembly.services.drain.begin(within: Self.drainTime * configuration.timeScale)
            front.drain()
        }
        assembly.services.logger.notice("serving", metadata: ["threads": "\(configuration.gateway.threads)"])
        let server = assembly.server
        front.run { server.handle($0) }
        assembly.shutdown()
        assembly.accessLog.stop()
    }

    /// Out of an assembly that touches nothing of a gateway beside it: neither its journals nor its port.
    private static func routes(_ configuration: Configuration) throws -> [Route] {
        let directory = FileManager.default.temporaryDirectory.appending(path: "gateway-routes-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: directory) }
        var configuration = configuration
        configuration.stateDirectory = directory.path
        configuration.gateway.metricsPort = 0
        configuration.gateway.role = "inference"
        configuration.gateway.accessLog = "-"
        return try Assembly(configuration).routes
    }
}
