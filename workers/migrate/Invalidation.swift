import Foundation
import Redis
import Server

/// Tells the gateways, after the commit, to forget what changed. Their caches live a second at most, so losing a message only costs that.
struct Invalidation {
    private let socket: String?

    init(_ settings: Settings) { socket = settings.redisSocket }

    func publish(_ message: String) {
        guard let socket else { return warn("no Redis socket is configured") }
        do {
            let connection = try RedisConnection(socket: socket, connectTimeout: .seconds(1), commandTimeout: .seconds(1))
            _ = try connection.command(["PUBLISH", .string(Invalidations.channel), .string(message)])
        } catch {
            warn("\(error)")
        }
    }

    private func warn(_ reason: String) {
        FileHandle.standardError.write(Data("warning: the gateways were not told at once, they notice within a second: \(reason)\n".utf8))
    }
}
