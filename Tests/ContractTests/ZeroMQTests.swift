import Foundation
import Testing
import Threads
import ZeroMQ

@Suite(.serialized) struct ZeroMQTests {
    @Test func messagesOfSeveralPartsComeWholeAndSayWhoSentThem() async throws {
        try await onThread {
            let mesh = try Mesh()
            let agent = try mesh.agent("one")
            let parts = [Array("hello".utf8), [], [UInt8](repeating: 7, count: 100_000)]
            #expect(try agent.send(parts.map { ZeroMQPart($0) }) == .sent)
            let received = try #require(try mesh.next())
            #expect(received.map(\.bytes) == [Array("one".utf8)] + parts)
            #expect(received.map(\.userID) == [nil, "one", "one", "one"], "the name is no part that the peer has sent")
            #expect(received[1].peerAddress == "127.0.0.1")
            // What was received goes on as it is.
            #expect(try mesh.router.send(received) == .sent)
            #expect(try next(agent)?.map(\.bytes) == parts)
            #expect(try agent.receive() == nil)
        }
    }

    @Test func aKeyThatIsNotOnTheListIsRefusedUntilItIs() async throws {
        try await onThread {
            let mesh = try Mesh()
            let keys = try CurveKeys()
            // The refused side is not told; it waits for the end of its handshake before it tries again.
            let stranger = try ZeroMQSocket(mesh.context, .dealer, mesh.options("stranger", keys) + [.handshake(milliseconds: 500)])
            let monitor = try ZeroMQMonitor(of: mesh.router, in: mesh.context, name: "door")
            try stranger.connect(mesh.endpoint)
            _ = try stranger.send([ZeroMQPart("let me in")])
            #expect(try happens(.refused(status: 300), monitor))
            #expect(try mesh.next(within: .milliseconds(300)) == nil)
            mesh.admitted.withLock { $0[keys.publicKey] = "stranger" }
            // The connection is tried again by itself, and what waited for it arrives.
            #expect(try mesh.next()?.last?.bytes == Array("let me in".utf8))
        }
    }

    @Test func aWrongKeyOfTheServerNeverShakesHands() async throws {
        try await onThread {
            let mesh = try Mesh()
            let keys = try CurveKeys()
            mesh.admitted.withLock { $0[keys.publicKey] = "deceived" }
            let socket = try ZeroMQSocket(
                mesh.context, .dealer, ZeroMQOption.curveClient(keys, server: CurveKeys().publicKey) + [.linger(milliseconds: 0)])
            let monitor = try ZeroMQMonitor(of: mesh.router, in: mesh.context, name: "server")
            try socket.connect(mesh.endpoint)
            _ = try socket.send([ZeroMQPart("secret")])
            #expect(try happens(.handshakeFailed, monitor))
            #expect(try mesh.next(within: .milliseconds(300)) == nil)
        }
    }

    /// Why a name that can be guessed must not be one to send to: CURVE and ZAP know keys, and a ROUTER believes any name.
    @Test func aKnownKeyTakesAnothersNameAndOnlyTheUserIDTells() async throws {
        try await onThread {
            let mesh = try Mesh()
            // It would come back and take its name again, and so on.
            let victim = try mesh.agent("victim", ZeroMQOption.reconnect(milliseconds: 60_000, longest: 60_000))
            _ = try victim.send([ZeroMQPart("hello")])
            _ = try mesh.next()
            let keys = try CurveKeys()
            mesh.admitted.withLock { $0[keys.publicKey] = "impostor" }
            let impostor = try ZeroMQSocket(mesh.context, .dealer, mesh.options("victim", keys))
            try impostor.connect(mesh.endpoint)
            _ = try impostor.send([ZeroMQPart("hello")])
            let received = try #require(try mesh.next())
            #expect(received[0].bytes == Array("victim".utf8))
            #expect(received[1].userID == "impostor")
            #expect(try mesh.router.send([ZeroMQPart("victim"), ZeroMQPart("a prompt")]) == .sent)
            #expect(try next(impostor)?[0].bytes == Array("a prompt".utf8))

            // With a secret in the name there is nothing to take (decision 0018).
            let safe = try mesh.agent("victim/a secret")
            for agent in [safe, impostor] { _ = try agent.send([ZeroMQPart("hello")]) }
            for _ in 0..<2 { _ = try mesh.next() }
            #expect(try mesh.router.send([ZeroMQPart("victim/a secret"), ZeroMQPart("another prompt")]) == .sent)
            #expect(try next(safe)?[0].bytes == Array("another prompt".utf8))
            #expect(try next(impostor, within: .milliseconds(200)) == nil)
        }
    }

    @Test func aPeerThatHasLeftIsNoPeer() async throws {
        try await onThread {
            let mesh = try Mesh()
            let monitor = try ZeroMQMonitor(of: mesh.router, in: mesh.context, name: "leaving")
            do {
                let agent = try mesh.agent("one")
                _ = try agent.send([ZeroMQPart("hello")])
                _ = try mesh.next()
                #expect(try mesh.router.send([ZeroMQPart("one"), ZeroMQPart("work")]) == .sent)
            }
            #expect(try happens(.disconnected, monitor))
            #expect(try eventually { try mesh.router.send([ZeroMQPart("one"), ZeroMQPart("work")]) == .noPeer })
            #expect(try mesh.router.send([ZeroMQPart("never seen"), ZeroMQPart("work")]) == .noPeer)
        }
    }

    @Test func aSilentPeerIsDroppedByTheHeartbeatAndComesBack() async throws {
        try await onThread {
            let directory = "/tmp/xz\(UInt32.random(in: 0...UInt32.max))"
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: directory) }
            let mesh = try Mesh(
                endpoint: "ipc://\(directory)/mesh.sock", [ZeroMQOption.heartbeat(milliseconds: 100, timeout: 400)].flatMap { $0 })
            let proxy = try CuttingProxy(target: "\(directory)/mesh.sock")
            defer { proxy.close() }
            let monitor = try ZeroMQMonitor(of: mesh.router, in: mesh.context, name: "silent")
            let agent = try mesh.agent(
                "one", at: "ipc://\(proxy.directory)/.s.PGSQL.5432", ZeroMQOption.heartbeat(milliseconds: 100, timeout: 400))
            _ = try agent.send([ZeroMQPart("hello")])
            #expect(try mesh.next() != nil)
            proxy.set(.stall)
            #expect(try happens(.disconnected, monitor))
            proxy.set(.forward)
            #expect(
                try eventually(within: .seconds(30)) {
                    _ = try agent.send([ZeroMQPart("again")])
                    return try mesh.next(within: .milliseconds(200))?.last?.bytes == Array("again".utf8)
                })
        }
    }

    @Test func agentsConnectAgainToAServerThatWasRestarted() async throws {
        try await onThread {
            let keys = try CurveKeys()
            let agentKeys = try CurveKeys()
            let context = try ZeroMQContext()
            let agent: ZeroMQSocket
            let endpoint: String
            do {
                let first = try Mesh(keys: keys)
                first.admitted.withLock { $0[agentKeys.publicKey] = "one" }
                endpoint = first.endpoint
                agent = try ZeroMQSocket(
                    context, .dealer, first.options("one", agentKeys) + ZeroMQOption.reconnect(milliseconds: 20, longest: 200))
                try agent.connect(endpoint)
                _ = try agent.send([ZeroMQPart("hello")])
                #expect(try first.next() != nil)
            }
            let second = try Mesh(endpoint: endpoint, keys: keys)
            second.admitted.withLock { $0[agentKeys.publicKey] = "one" }
            #expect(
                try eventually(within: .seconds(30)) {
                    _ = try agent.send([ZeroMQPart("hello again")])
                    return try second.next(within: .milliseconds(200)) != nil
                })
        }
    }

    @Test func aPeerThatDoesNotReadFillsItsQueueAlone() async throws {
        try await onThread {
            let mesh = try Mesh([.sendHighWaterMark(50), .sendBuffer(4_096)])
            let slow = try mesh.agent("slow", [.receiveHighWaterMark(50), .receiveBuffer(4_096)])
            let quick = try mesh.agent("quick")
            for agent in [slow, quick] { _ = try agent.send([ZeroMQPart("hello")]) }
            for _ in 0..<2 { #expect(try mesh.next() != nil) }
            let chunk = ZeroMQPart([UInt8](repeating: 1, count: 16_384))
            var sent = 0
            #expect(
                try eventually(within: .seconds(30)) {
                    switch try mesh.router.send([ZeroMQPart("slow"), chunk]) {
                    case .sent: sent += 1
                    case .full: return true
                    case .noPeer: Issue.record("the peer is there")
                    }
                    return sent > 100_000
                })
            #expect(sent >= 50 && sent < 10_000, "\(sent)")
            for _ in 0..<20 {
                #expect(try mesh.router.send([ZeroMQPart("quick"), chunk]) == .sent)
                #expect(try next(quick)?[0].count == 16_384)
            }
            // Nothing that was taken is lost, and once it is read there is room again.
            var more = 0
            for _ in 0..<sent { more += try next(slow) == nil ? 0 : 1 }
            #expect(more == sent)
            #expect(try eventually { try mesh.router.send([ZeroMQPart("slow"), chunk]) == .sent })
        }
    }

    @Test func aPartBeyondTheLimitEndsItsConnectionAndNoOther() async throws {
        try await onThread {
            let mesh = try Mesh([.longestPart(32 << 20)])
            let monitor = try ZeroMQMonitor(of: mesh.router, in: mesh.context, name: "huge")
            let good = try mesh.agent("good")
            let large = [UInt8](repeating: 5, count: 20 << 20)
            _ = try good.send([ZeroMQPart(large)])
            #expect(try mesh.next()?.last?.bytes == large)
            let bad = try mesh.agent("bad")
            _ = try bad.send([ZeroMQPart([UInt8](repeating: 5, count: 33 << 20))])
            #expect(try happens(.disconnected, monitor))
            _ = try good.send([ZeroMQPart("still here")])
            #expect(try mesh.next()?.map(\.bytes) == [Array("good".utf8), Array("still here".utf8)])
        }
    }

    @Test func aSignalDoesNotEndAWait() async throws {
        try await onThread {
            let context = try ZeroMQContext()
            let socket = try ZeroMQSocket(context, .dealer)
            try socket.bind("inproc://nobody")
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in }
            var before = sigaction()
            sigaction(SIGUSR2, &action, &before)
            defer { sigaction(SIGUSR2, &before, nil) }
            let waiting = pthread_self()
            let start = ContinuousClock.now
            let signals = Handle()
            startThread("signals") {
                while !signals.isDone {
                    pthread_kill(waiting, SIGUSR2)
                    usleep(20_000)
                }
                signals.ended()
            }
            defer { signals.finish() }
            #expect(try ZeroMQPoll.wait(for: [.socket(socket)], atMost: .milliseconds(300)) == [false])
            #expect(ContinuousClock.now - start >= .milliseconds(300))
        }
    }

    @Test func shuttingDownWakesWhoWaitsAndEndsAllCalls() async throws {
        try await onThread {
            let mesh = try Mesh()
            let context = mesh.context
            startThread("ending") {
                usleep(100_000)
                context.shutDown()
            }
            #expect(throws: ZeroMQError.terminated) { try ZeroMQPoll.wait(for: [.socket(mesh.router)], atMost: .seconds(60)) }
            #expect(throws: ZeroMQError.terminated) { try mesh.router.receive() }
            #expect(throws: ZeroMQError.terminated) { try mesh.router.send([ZeroMQPart("a"), ZeroMQPart("b")]) }
            #expect(throws: ZeroMQError.terminated) { try ZeroMQSocket(context, .dealer) }
        }
    }

    /// One wake may stand for many messages: those that are not taken are told of again.
    @Test func aWaitTellsOfAllThatHasNotBeenTaken() async throws {
        try await onThread {
            let context = try ZeroMQContext()
            let left = try ZeroMQSocket(context, .pair)
            let right = try ZeroMQSocket(context, .pair)
            try left.bind("inproc://pair")
            try right.connect("inproc://pair")
            for number in 0..<3 { _ = try left.send([ZeroMQPart("\(number)")]) }
            for number in 0..<3 {
                #expect(try ZeroMQPoll.wait(for: [.socket(right)], atMost: .seconds(30)) == [true])
                #expect(try right.receive()?.map(\.bytes) == [Array("\(number)".utf8)])
            }
            #expect(try ZeroMQPoll.wait(for: [.socket(right)], atMost: .zero) == [false])
        }
    }

    /// The rule of design: one thread owns the socket; others leave messages with it and ring a bell that it waits for too.
    @Test func manyThreadsShareASocketThroughTheThreadThatOwnsIt() async throws {
        try await onThread {
            let context = try ZeroMQContext()
            let server = try ZeroMQSocket(context, .router, [.mandatory])
            try server.bind("inproc://echo")
            let client = try ZeroMQSocket(context, .dealer, [.identity(Array("gateway".utf8))])
            try client.connect("inproc://echo")
            let bell = Pipe()
            let (listens, rings) = (bell.fileHandleForReading.fileDescriptor, bell.fileHandleForWriting.fileDescriptor)
            let outbox = Lock<[[ZeroMQPart]]>([])
            let answers = Monitor<[String: String]>([:])
            let threads = 8
            let each = 200
            let finished = Handle()
            defer { withExtendedLifetime(bell) {} }
            startThread("callers") {
                onThreads(threads) { number in
                    for turn in 0..<each {
                        let id = "\(number)-\(turn)"
                        outbox.withLock { $0.append([ZeroMQPart(id), ZeroMQPart("question \(id)")]) }
                        _ = write(rings, "!", 1)
                        answers.wait(atMost: 60, while: { $0[id] == nil }, then: { _ in })
                    }
                }
                finished.ended()
            }
            while !finished.hasEnded {
                let ready = try ZeroMQPoll.wait(for: [.socket(client), .socket(server), .descriptor(listens)], atMost: .milliseconds(50))
                if ready[2] {
                    var heard = [UInt8](repeating: 0, count: 4_096)
                    _ = read(listens, &heard, heard.count)
                    for message in outbox.withLock({ messages in
                        defer { messages = [] }; return messages
                    }) {
                        #expect(try client.send(message) == .sent)
                    }
                }
                while let request = try server.receive() { #expect(try server.send(request) == .sent) }
                while let answer = try client.receive() {
                    let text = answer.map { String(decoding: $0.bytes, as: UTF8.self) }
                    answers.change { $0[text[0]] = text[1] }
                }
            }
            let all = answers.withLock { $0 }
            #expect(all.count == threads * each)
            #expect(all.allSatisfy { $0.value == "question \($0.key)" })
        }
    }

    @Test func keysAreReadStrictlyAndKeepTheirSecret() throws {
        let keys = try CurveKeys()
        #expect(keys.publicKey.text.utf8.count == 40)
        #expect(try CurveKeys(secret: keys.secretText).publicKey == keys.publicKey)
        #expect(!"\(keys)".contains(keys.secretText))
        for text in ["", "short", String(repeating: "a", count: 41), String(repeating: " ", count: 40), String(repeating: "é", count: 20)] {
            #expect(throws: ZeroMQError.invalidKey) { try CurvePublicKey(text) }
            #expect(throws: ZeroMQError.invalidKey) { try CurveKeys(secret: text) }
        }
    }
}

/// A CURVE server with a gate, as the mesh has it.
private final class Mesh {
    let context: ZeroMQContext
    let router: ZeroMQSocket
    let endpoint: String
    /// Names by key.
    let admitted = Lock<[CurvePublicKey: String]>([:])
    private let keys: CurveKeys

    init(endpoint: String = "tcp://127.0.0.1:*", keys: CurveKeys? = nil, _ options: [ZeroMQOption] = []) throws {
        self.keys = try keys ?? CurveKeys()
        context = try ZeroMQContext()
        let admitted = self.admitted
        _ = try ZeroMQGate(context) { peer in admitted.withLock { $0[peer.key] } }
        router = try ZeroMQSocket(
            context, .router,
            ZeroMQOption.curveServer(self.keys, domain: "mesh") + [.mandatory, .handover, .linger(milliseconds: 0)] + options)
        let router = self.router
        // The socket of a mesh that has just ended is closed by libzmq's own thread.
        #expect(eventually(within: .seconds(30)) { (try? router.bind(endpoint)) != nil })
        self.endpoint = try router.lastEndpoint
    }

    deinit { context.shutDown() }

    convenience init(_ options: [ZeroMQOption]) throws { try self.init(endpoint: "tcp://127.0.0.1:*", options) }

    func options(_ name: String, _ keys: CurveKeys) -> [ZeroMQOption] {
        ZeroMQOption.curveClient(keys, server: self.keys.publicKey) + ZeroMQOption.reconnect(milliseconds: 20, longest: 200)
            + [.identity(Array(name.utf8)), .linger(milliseconds: 0)]
    }

    /// One that is admitted under its name.
    func agent(_ name: String, at endpoint: String? = nil, _ more: [ZeroMQOption] = []) throws -> ZeroMQSocket {
        let keys = try CurveKeys()
        admitted.withLock { $0[keys.publicKey] = name }
        let socket = try ZeroMQSocket(context, .dealer, options(name, keys) + more)
        try socket.connect(endpoint ?? self.endpoint)
        return socket
    }

    func next(within limit: Duration = .seconds(30)) throws -> [ZeroMQPart]? { try ContractTests.next(router, within: limit) }
}

/// The next message, waited for.
private func next(_ socket: ZeroMQSocket, within limit: Duration = .seconds(30)) throws -> [ZeroMQPart]? {
    _ = try ZeroMQPoll.wait(for: [.socket(socket)], atMost: limit)
    return try socket.receive()
}

/// Whether the monitor tells of that in time.
private func happens(_ kind: ZeroMQMonitor.Event.Kind, _ monitor: ZeroMQMonitor) throws -> Bool {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
        _ = try ZeroMQPoll.wait(for: [.socket(monitor.socket)], atMost: .milliseconds(100))
        while let event = try monitor.next() { if event.kind == kind { return true } }
    }
    return false
}

/// Tells a thread to stop, and that it has.
private final class Handle: Sendable {
    private let state = Monitor((isDone: false, hasEnded: false))

    var isDone: Bool { state.withLock { $0.isDone } }
    var hasEnded: Bool { state.withLock { $0.hasEnded } }
    func ended() { state.change { $0.hasEnded = true } }

    func finish() {
        state.change { $0.isDone = true }
        state.wait(atMost: 30, while: { !$0.hasEnded }, then: { _ in })
    }
}
