import Foundation
import Redis
import Synchronization
import Testing

@Suite(.serialized) struct RedisTests {
    @Test func commandsGiveTypedReplies() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 2)
            try pool.withConnection { connection in
                try #expect(connection.command(["SET", "a", .integer(-42)]) == .status("OK"))
                try #expect(connection.command(["GET", "a"]) == .bytes(Array("-42".utf8)))
                try #expect(connection.command(["INCRBY", "a", 50]).integer == 8)
                try #expect(connection.command(["GET", "missing"]) == .null)
                try #expect(connection.command(["MGET", "a", "missing"]).array == [.bytes(Array("8".utf8)), .null])
                try #expect(connection.command(["SET", "b", .bytes([0, 13, 10, 255])]) == .status("OK"))
                try #expect(connection.command(["GET", "b"]) == .bytes([0, 13, 10, 255]))
            }
        }
    }

    @Test func anErrorAnswerLeavesTheConnectionGood() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 1)
            try pool.withConnection { connection in
                #expect(throws: RedisError.refused("ERR unknown command 'NONSENSE', with args beginning with: ")) {
                    try connection.command(["NONSENSE"])
                }
                try #expect(connection.command(["PING"]) == .status("PONG"))
            }
        }
    }

    @Test func aPipelineAnswersEachCommand() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 1)
            let replies = try pool.withConnection { try $0.pipeline([["SET", "n", 1], ["INCR", "n"], ["NONSENSE"], ["GET", "n"]]) }
            #expect(replies.count == 4)
            #expect(replies[1].integer == 2)
            guard case .error = replies[2] else { return #expect(Bool(false), "not an error: \(replies[2])") }
            #expect(replies[3].string == "2")
        }
    }

    @Test func hugeRepliesArrive() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 1, commandTimeout: .seconds(10))
            let huge = [UInt8](repeating: 120, count: 40 << 20)
            try pool.withConnection { connection in
                _ = try connection.command(["SET", "huge", .bytes(huge)])
                try #expect(connection.command(["GET", "huge"]) == .bytes(huge))
                _ = try connection.command(["EVAL", "for i = 1, 200000 do redis.call('RPUSH', 'list', i) end", 0])
                try #expect(connection.command(["LRANGE", "list", 0, -1]).array?.count == 200_000)
            }
        }
    }

    @Test func aServerThatIsGoneFailsAtOnce() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 4)
            try pool.withConnection { _ = try $0.command(["PING"]) }
            server.stop()
            #expect(throws: RedisError.self) { try pool.withConnection { _ = try $0.command(["PING"]) } }
            #expect(throws: RedisError.self) { try pool.withConnection { _ = try $0.command(["PING"]) } }
            let start = ContinuousClock.now
            for _ in 0..<10_000 {
                #expect(throws: RedisError.away) { try pool.withConnection { _ = try $0.command(["PING"]) } }
                if ContinuousClock.now - start > .milliseconds(200) { break }
            }
            #expect(pool.isAway)
        }
    }

    @Test func aRestartedServerIsFoundAgain() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 4)
            try pool.withConnection { _ = try $0.command(["PING"]) }
            server.stop()
            try server.start()
            // The kept connection is broken; the next one is new.
            #expect(throws: RedisError.self) { try pool.withConnection { _ = try $0.command(["PING"]) } }
            try #expect(pool.withConnection { try $0.command(["PING"]) } == .status("PONG"))
            server.stop()
            #expect(eventually { (try? pool.withConnection { try $0.command(["PING"]) }) == nil && pool.isAway })
            try server.start()
            #expect(eventually(within: .seconds(2)) { (try? pool.withConnection { try $0.command(["PING"]) }) != nil })
            #expect(!pool.isAway)
        }
    }

    @Test func aSilentServerTimesOutAndItsLateAnswerIsNeverRead() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 1, commandTimeout: .milliseconds(200), pause: .milliseconds(50))
            try pool.withConnection { _ = try $0.command(["SET", "late", "old"]) }
            server.suspend()
            let start = ContinuousClock.now
            #expect(throws: RedisError.timedOut) { try pool.withConnection { _ = try $0.command(["GET", "late"]) } }
            #expect(ContinuousClock.now - start < .seconds(5))
            #expect(throws: RedisError.away) { try pool.withConnection { _ = try $0.command(["PING"]) } }
            server.resume()
            #expect(eventually { (try? pool.withConnection { try $0.command(["PING"]) }) == .status("PONG") })
        }
    }

    @Test func aFullPoolIsAnErrorAfterAShortWait() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 1, waitTimeout: .milliseconds(50))
            try pool.withConnection { _ in
                _ = #expect(throws: RedisError.poolExhausted) { try pool.withConnection { _ = try $0.command(["PING"]) } }
            }
            try #expect(pool.withConnection { try $0.command(["PING"]) } == .status("PONG"))
        }
    }

    @Test func manyThreadsShareFewConnections() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 4, waitTimeout: .seconds(5))
            onThreads(32) { _ in
                for _ in 0..<200 { #expect(throws: Never.self) { try pool.withConnection { _ = try $0.command(["INCR", "n"]) } } }
            }
            try #expect(pool.withConnection { try $0.command(["GET", "n"]) }.string == "6400")
        }
    }

    @Test func aSignalDoesNotBreakACall() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 1, commandTimeout: .seconds(5))
            signal(SIGUSR2) { _ in }
            let waiter = pthread_self()
            let poker = Thread {
                for _ in 0..<50 {
                    usleep(5_000)
                    pthread_kill(waiter, SIGUSR2)
                }
            }
            poker.start()
            let reply = try pool.withConnection { try $0.command(["BLPOP", "nothing", "0.4"]) }
            #expect(reply == .null)
        }
    }

    @Test func aForgottenScriptIsSentAgain() async throws {
        try await onThread {
            let server = try RedisServer()
            let pool = RedisPool(socket: server.socket, size: 1)
            let script = RedisScript("return {KEYS[1], ARGV[1] + 1}")
            try pool.withConnection { connection in
                let expected: [RedisReply] = [.bytes(Array("k".utf8)), .integer(42)]
                try #expect(script.run(on: connection, keys: ["k"], arguments: [41]).array == expected)
                _ = try connection.command(["SCRIPT", "FLUSH"])
                try #expect(script.run(on: connection, keys: ["k"], arguments: [41]).array == expected)
                try #expect(script.run(on: connection, keys: ["k"], arguments: [41]).array == expected)
            }
        }
    }

    @Test func aSubscriberHearsAgainAfterALoss() async throws {
        try await onThread {
            let server = try RedisServer()
            let heard = Mutex<[String]>([])
            let lost = Atomic(0)
            let subscribed = Atomic(0)
            let subscriber = RedisSubscriber(
                socket: server.socket, channel: "news",
                onMessage: { text in heard.withLock { $0.append(text) } },
                onLost: { lost.add(1, ordering: .relaxed) },
                onSubscribed: { subscribed.add(1, ordering: .relaxed) })
            let pool = RedisPool(socket: server.socket, size: 1, pause: .milliseconds(20))
            #expect(eventually { subscribed.load(ordering: .relaxed) == 1 })
            try pool.withConnection { _ = try $0.command(["PUBLISH", "news", "one"]) }
            #expect(eventually { heard.withLock { $0 } == ["one"] })
            server.stop()
            #expect(eventually { lost.load(ordering: .relaxed) == 1 })
            try server.start()
            #expect(eventually { subscribed.load(ordering: .relaxed) == 2 })
            #expect(eventually { (try? pool.withConnection { try $0.command(["PUBLISH", "news", "two"]) }) != nil })
            #expect(eventually { heard.withLock { $0 } == ["one", "two"] })
            let start = ContinuousClock.now
            subscriber.stop()
            #expect(ContinuousClock.now - start < .seconds(5))
            #expect(lost.load(ordering: .relaxed) == 1)
        }
    }

    @Test func aSubscriberNoticesASilentServer() async throws {
        try await onThread {
            let server = try RedisServer()
            let lost = Atomic(0)
            let subscribed = Atomic(0)
            let subscriber = RedisSubscriber(
                socket: server.socket, channel: "news", silence: .milliseconds(100), onMessage: { _ in },
                onLost: { lost.add(1, ordering: .relaxed) }, onSubscribed: { subscribed.add(1, ordering: .relaxed) })
            #expect(eventually { subscribed.load(ordering: .relaxed) == 1 })
            usleep(500_000)
            #expect(lost.load(ordering: .relaxed) == 0)
            server.suspend()
            #expect(eventually { lost.load(ordering: .relaxed) == 1 })
            server.resume()
            #expect(eventually { subscribed.load(ordering: .relaxed) == 2 })
            subscriber.stop()
        }
    }
}
