import Foundation
import Threads

/// Stands between a client and the unix socket of a server, and breaks connections on command.
final class CuttingProxy: Sendable {
    enum Mode { case forward, refuse, swallowReplies, stall }

    private struct State {
        var mode = Mode.forward
        var sockets: Set<Int32> = []
        var accepted = 0
        var turns = 0
        var wasReply = true
    }

    let directory: String
    private let target: String
    private let listener: Int32
    private let state = Monitor(State())

    init(target: String) throws {
        self.target = target
        directory = "/tmp/xp\(String(UInt32.random(in: 0...UInt32.max), radix: 36))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let bound = withAddress("\(directory)/.s.PGSQL.5432") { bind(listener, $0, $1) }
        guard bound == 0, listen(listener, 128) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        startThread("proxy") { self.acceptForever() }
        let directory = self.directory
        AtExit.add { try? FileManager.default.removeItem(atPath: directory) }
    }

    func set(_ mode: Mode) { state.change { $0.mode = mode } }

    /// Breaks every connection that is open now.
    func cut() { state.withLock { $0.sockets.forEach { shutdown($0, Int32(SHUT_RDWR)) } } }

    var accepted: Int { state.withLock { $0.accepted } }

    /// How often the client spoke after the server had: its round trips, as long as there is one connection.
    var turns: Int { state.withLock { $0.turns } }

    func close() {
        shutdown(listener, Int32(SHUT_RDWR))
        cut()
    }

    private func acceptForever() {
        while true {
            let client = accept(listener, nil, nil)
            guard client >= 0 else { return }
            let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            let isRefused = state.withLock { $0.mode == .refuse }
            guard !isRefused, withAddress(target, { connect(server, $0, $1) }) == 0 else {
                Foundation.close(client)
                Foundation.close(server)
                continue
            }
            state.withLock { state in
                state.accepted += 1
                state.sockets.formUnion([client, server])
            }
            let ended = DispatchGroup()
            for (from, to, isReply) in [(client, server, false), (server, client, true)] {
                ended.enter()
                startThread("pump") {
                    self.pump(from, to, isReply: isReply)
                    ended.leave()
                }
            }
            ended.notify(queue: .global()) {
                self.state.withLock { $0.sockets.subtract([client, server]) }
                Foundation.close(client)
                Foundation.close(server)
            }
        }
    }

    private func pump(_ from: Int32, _ to: Int32, isReply: Bool) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(from, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            state.wait(while: { $0.mode == .stall }, then: { _ in })
            state.withLock { state in
                if !isReply && state.wasReply { state.turns += 1 }
                state.wasReply = isReply
            }
            if isReply && state.withLock({ $0.mode == .swallowReplies }) { continue }
            var sent = 0
            while sent < count {
                let written = buffer.withUnsafeBytes { send(to, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL)) }
                guard written > 0 else { break }
                sent += written
            }
        }
        shutdown(from, Int32(SHUT_RDWR))
        shutdown(to, Int32(SHUT_RDWR))
    }
}

private func withAddress<Answer>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Answer) -> Answer {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
}
