import CRedis
import Dispatch
import Foundation
import Glibc
import Synchronization
import Threads

/// Listens to one channel on a thread of its own and subscribes again when the connection is lost.
///
/// Messages sent while there is no subscription are lost: `onLost` says when one ended, `onSubscribed` when the next one stands.
/// All callbacks come from the subscriber's thread, one at a time; none comes after `stop` has returned.
public final class RedisSubscriber: Sendable {
    private let settings: Settings
    private let stopDescriptor: Int32
    private let ended = DispatchSemaphore(value: 0)
    private let isStopping = Atomic(false)

    private struct Settings: Sendable {
        let socket: String
        let channel: String
        let silence: Duration
        let firstPause: Duration
        let longestPause: Duration
        let onMessage: @Sendable (String) -> Void
        let onLost: @Sendable () -> Void
        let onSubscribed: @Sendable () -> Void
    }

    /// Starts at once.
    /// - Parameters:
    ///   - silence: after so long without a message Redis is asked whether it still lives; the same time again without an answer is a loss.
    ///   - firstPause: the pause before the first new attempt; it doubles up to `longestPause`.
    public init(
        socket: String, channel: String, silence: Duration = .seconds(5), firstPause: Duration = .milliseconds(50),
        longestPause: Duration = .seconds(1), onMessage: @escaping @Sendable (String) -> Void, onLost: @escaping @Sendable () -> Void,
        onSubscribed: @escaping @Sendable () -> Void = {}
    ) {
        settings = Settings(
            socket: socket, channel: channel, silence: silence, firstPause: firstPause, longestPause: longestPause, onMessage: onMessage,
            onLost: onLost, onSubscribed: onSubscribed)
        stopDescriptor = eventfd(0, Int32(EFD_CLOEXEC))
        startThread("redis-subscriber") { [self] in
            run()
            ended.signal()
        }
    }

    deinit { close(stopDescriptor) }

    /// Ends the thread and waits for it. It may be called once, and not from a callback.
    public func stop() {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        eventfd_write(stopDescriptor, 1)
        ended.wait()
    }

    private var shallStop: Bool { isStopping.load(ordering: .sequentiallyConsistent) }

    private func run() {
        var pause = settings.firstPause
        while !shallStop {
            if let connection = subscribe() {
                pause = settings.firstPause
                settings.onSubscribed()
                listen(on: connection)
                if !shallStop { settings.onLost() }
            }
            _ = waitForInput(descriptor: -1, for: pause)
            pause = min(pause * 2, settings.longestPause)
        }
    }

    /// nil when Redis is away; the loop tries again.
    private func subscribe() -> RedisConnection? {
        do {
            let connection = try RedisConnection(
                socket: settings.socket, connectTimeout: .milliseconds(100), commandTimeout: .seconds(1))
            _ = try connection.command(["SUBSCRIBE", .string(settings.channel)])
            return connection
        } catch {
            return nil
        }
    }

    /// Returns when the connection is lost or the subscriber stops.
    private func listen(on connection: RedisConnection) {
        var hasAsked = false
        while !shallStop {
            do {
                if waitForInput(descriptor: connection.descriptor, for: settings.silence) {
                    try connection.readAvailable()
                    while let reply = try connection.arrivedReply() { deliver(reply) }
                    hasAsked = false
                } else if hasAsked {
                    return
                } else {
                    try connection.sendPing()
                    hasAsked = true
                }
            } catch {
                return
            }
        }
    }

    private func deliver(_ reply: RedisReply) {
        guard let parts = reply.array, parts.count == 3, parts[0].string == "message", let text = parts[2].string else { return }
        settings.onMessage(text)
    }

    /// Waits for bytes on the descriptor (-1: only for the time to pass). Returns early when the subscriber stops.
    private func waitForInput(descriptor: Int32, for duration: Duration) -> Bool {
        let events = Int16(POLLIN)
        var descriptors = [pollfd(fd: descriptor, events: events, revents: 0), pollfd(fd: stopDescriptor, events: events, revents: 0)]
        let count = poll(&descriptors, 2, Int32(duration.seconds * 1000))
        return count > 0 && descriptors[0].revents != 0
    }
}
