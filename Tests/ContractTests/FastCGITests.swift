import FastCGI
import Foundation
import Testing
import Threads

/// A listening unix socket, and fronts that serve it.
final class FrontBench: Sendable {
    typealias Handler = @Sendable (borrowing Exchange) -> Void

    let path = "/tmp/xf\(String(UInt32.random(in: 0...UInt32.max), radix: 36))"
    private let listener: Int32

    init() throws {
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let listener = listener
        guard withUnixAddress(path, { bind(listener, $0, $1) }) == 0, listen(listener, 512) == 0 else {
            throw POSIXError(.init(rawValue: errno) ?? .EIO)
        }
        let path = path
        AtExit.add { unlink(path) }
    }

    /// A front that runs until it is drained.
    func serve(threads: Int, _ handler: @escaping Handler) -> RunningFront {
        RunningFront(ThreadedFront(listener: listener, threads: threads), handler)
    }

    func connect() throws -> FastCGIClient { try FastCGIClient(path: path) }
}

final class RunningFront: Sendable {
    let front: ThreadedFront
    private let isOver = Monitor(false)

    init(_ front: ThreadedFront, _ handler: @escaping FrontBench.Handler) {
        self.front = front
        let isOver = isOver
        startThread("front") {
            front.run(handler)
            isOver.change { $0 = true }
        }
    }

    /// Whether `run` returns in time.
    func returns(within seconds: Double) -> Bool { isOver.wait(atMost: seconds, while: { !$0 }, then: { $0 }) }

    func end() {
        front.drain()
        // Long enough for a machine that is busy with everything else.
        #expect(returns(within: 60))
    }
}

@Suite struct FastCGITests {
    /// Answers with what it read: the body's length and sum, or that it was too long.
    private static func echo(limit: Int = 2 << 20) -> FrontBench.Handler {
        { exchange in
            let body = exchange.readBody(limit: limit, expected: exchange.parameters["CONTENT_LENGTH"].flatMap { Int($0) } ?? 0)
            answer(exchange, body.map(summary) ?? "too long")
        }
    }

    /// Reads what is there and answers.
    private static func answer(_ exchange: borrowing Exchange, _ text: String) {
        exchange.discardBody()
        do {
            try exchange.answer.write(Array("Status: 200\r\n\r\n\(text)".utf8))
        } catch {
            Issue.record(error)
        }
    }

    private static func summary(_ bytes: [UInt8]) -> String {
        "\(bytes.count) \(bytes.reduce(into: UInt32(7)) { $0 = $0 &* 31 &+ UInt32($1) })"
    }

    private static func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) } }

    @Test func bodiesOfEverySizeArriveWholeOnOneKeptConnection() async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 1, Self.echo())
            let client = try bench.connect()
            for size in [0, 1, 8 << 10, 1, 8191, 8193, 65_535, 65_536, 0, 1 << 20, 1] {
                let body = Self.bytes(size)
                let announced = try client.post("/", body)
                #expect(announced.isComplete && announced.text == Self.summary(body), "\(size)")
                let unannounced = try client.call([("REQUEST_METHOD", "POST")], body)
                #expect(unannounced.isComplete && unannounced.text == Self.summary(body), "\(size)")
            }
            client.leave()
            front.end()
        }
    }

    @Test func manyKeptConnectionsAreServedAtOnce() async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 64, Self.echo())
            onThreads(64) { number in
                do {
                    let client = try bench.connect()
                    for round in 0..<30 {
                        let body = Self.bytes(number * 97 + round * 331)
                        let answer = try client.post("/", body)
                        #expect(answer.isComplete && answer.text == Self.summary(body))
                    }
                } catch {
                    Issue.record(error)
                }
            }
            front.end()
            #expect(front.front.connectionCount == 0)
        }
    }

    @Test func aBodyOverTheLimitIsRefusedAndTheConnectionServesOn() async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 1, Self.echo(limit: 10_000))
            let client = try bench.connect()
            for (size, isTooLong) in [(10_000, false), (10_001, true), (1 << 20, true), (0, false), (30_000, true), (9_999, false)] {
                let body = Self.bytes(size)
                // Announced truly, not at all, and as far less than it is.
                for parameters in [[("CONTENT_LENGTH", "\(size)")], [], [("CONTENT_LENGTH", "5")]] {
                    let answer = try client.call(parameters, body)
                    #expect(answer.isComplete && answer.text == (isTooLong ? "too long" : Self.summary(body)), "\(size)")
                }
            }
            client.leave()
            front.end()
        }
    }

    @Test func aBodyThatNobodyReadStandsBeforeNoOtherRequest() async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 1) { exchange in
                Self.answer(exchange, exchange.parameters["REQUEST_URI"] ?? "")
            }
            let client = try bench.connect()
            for size in [0, 100, 8192, 16_384, 300_000] { #expect(try client.post("/\(size)", Self.bytes(size)).text == "/\(size)") }
            client.leave()
            front.end()
        }
    }

    @Test func aBodyThatBreaksOffEndsEarly() async throws {
        try await onThread {
            let bench = try FrontBench()
            let sizes = Monitor<[Int]>([])
            let front = bench.serve(threads: 1) { exchange in
                let body = exchange.readBody(limit: 1 << 20, expected: 1000)
                sizes.change { $0.append(body?.count ?? -1) }
                try? exchange.answer.write(Array("Status: 200\r\n\r\n".utf8))
            }
            let client = try bench.connect()
            #expect(try client.call([("CONTENT_LENGTH", "1000")], Self.bytes(10)).isComplete)
            try client.begin([("CONTENT_LENGTH", "1000")])
            try client.sendBody(Self.bytes(20))
            client.leave()
            #expect(sizes.wait(atMost: 5, while: { $0.count < 2 }, then: { $0 }) == [10, 20])
            // The thread is free for the next connection.
            #expect(try bench.connect().call([], []).isComplete)
            front.end()
        }
    }

    @Test(arguments: [false, true]) func answersOfEverySizeArriveWhole(inPieces: Bool) async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 1) { exchange in
                let size = exchange.parameters["SIZE"].flatMap { Int($0) } ?? 0
                exchange.discardBody()
                do {
                    try exchange.answer.write(Array("Status: 200\r\n\r\n".utf8))
                    let body = Self.bytes(size)
                    for start in stride(from: 0, to: size, by: inPieces ? 7_001 : max(size, 1)) {
                        try exchange.answer.write(Array(body[start..<min(start + (inPieces ? 7_001 : size), size)]))
                        if inPieces { try exchange.answer.flush() }
                    }
                } catch {
                    Issue.record(error)
                }
            }
            let client = try bench.connect()
            for size in [0, 1, 8 << 10, 65_535, 65_536, 200_000, 3 << 20] {
                let answer = try client.call([("SIZE", "\(size)")], [])
                #expect(answer.isComplete && answer.body == Self.bytes(size), "\(size)")
            }
            client.leave()
            front.end()
        }
    }

    @Test func parametersMayBeLongAndMany() async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 1) { exchange in
                let long = exchange.parameters["HTTP_X_LONG"] ?? "absent"
                let last = exchange.parameters["HTTP_X_LAST"] ?? "absent"
                Self.answer(exchange, "\(long.utf8.count) \(last) \(exchange.parameters["HTTP_X_NONE"] ?? "absent")")
            }
            let client = try bench.connect()
            let many = (0..<2000).map { ("HTTP_X_\($0)", String(repeating: "v", count: $0 % 300)) }
            let answer = try client.call(
                [("HTTP_X_LONG", String(repeating: "ü", count: 40_000))] + many + [("HTTP_X_LAST", "")], [])
            #expect(answer.text == "80000  absent")
            client.leave()
            front.end()
        }
    }

    @Test func aClientThatLeavesEndsTheAnswer() async throws {
        try await onThread {
            let bench = try FrontBench()
            let gone = Monitor(0)
            let front = bench.serve(threads: 1) { exchange in
                _ = exchange.readBody(limit: 10, expected: 0)
                do {
                    while true {
                        try exchange.answer.write(Self.bytes(1000))
                        try exchange.answer.flush()
                    }
                } catch {
                    if error is ClientGone { gone.change { $0 += 1 } }
                }
            }
            for round in 1...3 {
                let client = try bench.connect()
                try client.send([])
                #expect(client.isReadable(within: 5_000))
                client.leave()
                #expect(gone.wait(atMost: 5, while: { $0 < round }, then: { $0 }) == round)
            }
            front.end()
        }
    }

    /// Other tests use the same two cores, so the fastest of a few counts.
    @Test func theDescriptorTellsWithin50MillisecondsThatTheClientLeft() async throws {
        try await onThread {
            let bench = try FrontBench()
            let isWaiting = Monitor(false)
            let isEarly = Monitor(false)
            let leftAt = Monitor(ContinuousClock.now)
            let noticed = Monitor<[Duration]>([])
            let front = bench.serve(threads: 1) { exchange in
                _ = exchange.readBody(limit: 1 << 20, expected: 5)
                var item = pollfd(fd: exchange.descriptor, events: Int16(POLLIN), revents: 0)
                // A client that waits is silent.
                if poll(&item, 1, 50) != 0 { isEarly.change { $0 = true } }
                isWaiting.change { $0 = true }
                poll(&item, 1, 5_000)
                noticed.change { $0.append(.now - leftAt.withLock { $0 }) }
            }
            for round in 1...5 {
                let client = try bench.connect()
                try client.send([("CONTENT_LENGTH", "5")], Self.bytes(5))
                isWaiting.wait(atMost: 5, while: { !$0 }, then: { $0 = false })
                leftAt.change { $0 = .now }
                client.leave()
                #expect(noticed.wait(atMost: 10, while: { $0.count < round }, then: { $0.count }) == round)
            }
            #expect(!isEarly.withLock { $0 })
            #expect(noticed.withLock { $0.min() ?? .seconds(9) } < .milliseconds(50))
            front.end()
        }
    }

    @Test func idleConnectionsFewerThanThreadsStarveNobody() async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 8, Self.echo())
            let idle = try (0..<7).map { _ in try bench.connect() }
            for client in idle { #expect(try client.post("/", [1]).isComplete) }
            #expect(front.front.connectionCount == 7)
            for _ in 0..<50 {
                let client = try bench.connect()
                try client.send([])
                #expect(client.isReadable(within: 5_000) && client.receive().isComplete)
            }
            // The idle ones still serve.
            for client in idle { #expect(try client.post("/", [1]).isComplete) }
            idle.forEach { $0.leave() }
            front.end()
        }
    }

    @Test func aConnectionBeyondTheThreadsWaitsInTheBacklogUntilOneIsFree() async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 2, Self.echo())
            let kept = try (0..<2).map { _ in try bench.connect() }
            for client in kept { #expect(try client.post("/", [1]).isComplete) }
            let waiting = try bench.connect()
            try waiting.send([])
            #expect(!waiting.isReadable(within: 200) && front.front.connectionCount == 2)
            kept[0].leave()
            #expect(waiting.isReadable(within: 5_000) && waiting.receive().isComplete)
            kept[1].leave()
            waiting.leave()
            front.end()
        }
    }

    @Test func moreConnectionsThanThreadsAreAllServedInTurn() async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 3, Self.echo())
            onThreads(40) { _ in
                do {
                    for _ in 0..<5 { #expect(try bench.connect().post("/", [1, 2]).isComplete) }
                } catch {
                    Issue.record(error)
                }
            }
            front.end()
        }
    }

    @Test func drainingEndsWhatRunsAndLeavesNewConnectionsToOthers() async throws {
        try await onThread {
            let bench = try FrontBench()
            let gate = Monitor((isEntered: false, isOpen: false))
            let old = bench.serve(threads: 3) { exchange in
                if exchange.parameters["SLOW"] != nil {
                    gate.change { $0.isEntered = true }
                    gate.wait(while: { !$0.isOpen }, then: { _ in })
                }
                Self.answer(exchange, "old")
            }
            let idle = try bench.connect()
            #expect(try idle.call([], []).text == "old")
            let running = try bench.connect()
            try running.send([("SLOW", "1")])
            gate.wait(while: { !$0.isEntered }, then: { _ in })
            old.front.drain()
            let new = try bench.connect()
            try new.send([])
            #expect(!new.isReadable(within: 100) && !old.returns(within: 0.1))
            let next = bench.serve(threads: 2) { exchange in Self.answer(exchange, "new") }
            #expect(new.receive().text == "new")
            // Only the client closes a kept connection, as it cannot know of the draining.
            for _ in 0..<3 { #expect(try idle.call([], []).text == "old") }
            #expect(!idle.isReadable(within: 100))
            gate.change { $0.isOpen = true }
            let last = running.receive()
            #expect(last.isComplete && last.text == "old")
            running.leave()
            #expect(!old.returns(within: 0.1))
            idle.leave()
            #expect(old.returns(within: 60))
            #expect(try new.call([], []).text == "new")
            new.leave()
            next.end()
        }
    }

    /// Each client sends its next request the moment it has an answer, as nginx does under load.
    @Test func noRequestIsLostWhileAFrontDrains() async throws {
        try await onThread {
            let bench = try FrontBench()
            let fronts = Monitor([bench.serve(threads: 16, Self.echo())])
            let isOver = Monitor(false)
            startThread("restarts") {
                for _ in 0..<10 {
                    usleep(30_000)
                    let new = bench.serve(threads: 16, Self.echo())
                    fronts.change { $0.append(new) }
                    fronts.withLock { $0[$0.count - 2] }.front.drain()
                }
                isOver.change { $0 = true }
            }
            onThreads(8) { _ in
                do {
                    while !isOver.withLock({ $0 }) {
                        let client = try bench.connect()
                        for _ in 0..<50 { #expect(try client.call([], []).isComplete) }
                    }
                } catch {
                    Issue.record(error)
                }
            }
            for front in fronts.withLock({ $0 }).dropLast() { #expect(front.returns(within: 60)) }
            fronts.withLock { $0.last }?.end()
        }
    }

    @Test(arguments: ["GET / HTTP/1.1\r\n\r\n", "\u{1}", "\u{1}\u{1}\u{0}\u{1}\u{7F}\u{7F}\u{0}\u{0}short"])
    func whatIsNotFastCGICostsOnlyItsConnection(bytes: String) async throws {
        try await onThread {
            let bench = try FrontBench()
            let front = bench.serve(threads: 1, Self.echo())
            let bad = try bench.connect()
            try bad.write(Array(bytes.utf8))
            bad.leave()
            #expect(try bench.connect().post("/", [1]).isComplete)
            front.end()
        }
    }
}
