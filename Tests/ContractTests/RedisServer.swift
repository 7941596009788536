import Foundation
import Glibc

/// A Redis of its own for one test: on a unix socket in a new directory, never the machine's.
final class RedisServer: @unchecked Sendable {
    let directory: String
    var socket: String { directory + "/redis.sock" }
    private var process: Process?

    init() throws {
        signal(SIGPIPE, SIG_IGN)
        directory = NSTemporaryDirectory() + "redis-" + UUID().uuidString.prefix(8).lowercased()
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try start()
    }

    deinit {
        stop()
        do { try FileManager.default.removeItem(atPath: directory) } catch { print("cannot remove \(directory): \(error)") }
    }

    func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/redis-server")
        process.arguments = [
            "--port", "0", "--unixsocket", socket, "--dir", directory, "--save", "", "--logfile", directory + "/redis.log",
        ]
        try process.run()
        self.process = process
        _ = eventually { socketAnswers() }
    }

    /// Ends it at once, as a crash would.
    func stop() {
        resume()
        if let process { kill(process.processIdentifier, SIGKILL) }
        process?.waitUntilExit()
        process = nil
        unlink(socket)
    }

    /// Keeps it from answering, without closing anything.
    func suspend() { if let process { kill(process.processIdentifier, SIGSTOP) } }
    func resume() { if let process { kill(process.processIdentifier, SIGCONT) } }

    private func socketAnswers() -> Bool {
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(socket.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
    }
}
