import Foundation
import Logging
import Supervision
import Testing

/// A scripted engine as a process of its own, which crashes, hangs and ends.
@Suite(.serialized) struct SupervisedEngineTests {
    /// A start, as the engine noted it.
    private struct Start: Decodable {
        var pid: Int32
        var arguments: [String]
        var environment: [String: String]
    }

    private let home = FileManager.default.temporaryDirectory.appending(path: "engine-\(UUID().uuidString)")
    private let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "scripted-engine").path

    init() throws { try FileManager.default.createDirectory(at: home, withIntermediateDirectories: true) }

    private func engine(_ play: String, _ values: [String: String] = [:], silence: Double = 600) throws -> SupervisedEngine {
        let model = home.appending(path: "tiny.gguf")
        try Data(play.utf8).write(to: model)
        let settings = try AgentSettings(["MODEL": model.path, "LLAMACPP_PATH": script].merging(values) { $1 })
        var limits = SupervisedEngine.Limits(timeScale: 0.02)
        limits.probe = 0.5
        limits.silence = silence
        let own = ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "", "HOME": home.path, "XEROTIER_AGENT_JOIN_KEY": "xjk_secret"]
        return try #require(
            SupervisedEngine(settings, own: own, limits: limits, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
    }

    private func starts() throws -> [Start] {
        guard let text = try? String(contentsOf: home.appending(path: "starts"), encoding: .utf8) else { return [] }
        return try text.split(separator: "\n").map { try JSONDecoder().decode(Start.self, from: Data($0.utf8)) }
    }

    private func eventually(_ what: Comment, _ check: () throws -> Bool) throws {
        let end = ContinuousClock.now + .seconds(60)
        while try !check() {
            try #require(ContinuousClock.now < end, what)
            usleep(20_000)
        }
    }

    private func isAlive(_ process: Int32) -> Bool { kill(process, 0) == 0 }

    @Test func itBecomesReadyUnderAKeyAndEndsWithWhatItStarted() throws {
        let engine = try engine(#"{"child": true, "load": 0.3}"#)
        try eventually("ready") { engine.state == .ready }
        let start = try #require(starts().first)
        #expect(start.environment["LLAMA_API_KEY"] == engine.key && !start.arguments.contains(engine.key))
        #expect(start.environment["XEROTIER_AGENT_JOIN_KEY"] == nil)
        let child = try #require(Int32(String(contentsOf: home.appending(path: "child"), encoding: .utf8)))
        #expect(isAlive(child))
        engine.stop()
        #expect(engine.state == .stopped && !isAlive(start.pid))
        try eventually("no orphan") { !isAlive(child) }
    }

    @Test func aKilledEngineIsStartedAgainAtItsAddress() throws {
        let engine = try engine("{}")
        defer { engine.stop() }
        for crash in 1...3 {
            try eventually("ready") { engine.state == .ready }
            kill(try #require(starts().last).pid, SIGKILL)
            try eventually("another start") { try starts().count == crash + 1 }
        }
        try eventually("ready") { engine.state == .ready }
        #expect(engine.restarts == 3)
        #expect(Set(try starts().map { $0.arguments[$0.arguments.firstIndex(of: "--port")! + 1] }).count == 1)
    }

    @Test func anEngineThatCannotLoadFailsAfterFiveTriesWithItsWords() throws {
        let engine = try engine(#"{"exit": "bad magic"}"#)
        try eventually("failed") { engine.state == .failed }
        #expect(try starts().count == 5)
        #expect(engine.problem?.contains("exit status 1") == true && engine.problem?.contains("cannot load: bad magic") == true)
        engine.stop()
    }

    @Test func aProgramThatIsNotThereIsSaid() throws {
        let engine = try engine("{}", ["LLAMACPP_PATH": "/nowhere/llama-server"])
        try eventually("failed") { engine.state == .failed }
        #expect(engine.problem == "/nowhere/llama-server: there is no such program")
    }

    @Test func outOfMemoryIsTriedOnceMoreWithHalfTheContext() throws {
        let engine = try engine(#"{"room": 3000}"#, ["MAX_MODEL_LEN": "4096", "MAX_NUM_SEQS": "1"])
        defer { engine.stop() }
        try eventually("ready") { engine.state == .ready }
        #expect(try starts().map { $0.arguments.last } == ["4096", "2048"])
    }

    @Test func anEngineThatHangsIsKilledAndStartedAgain() throws {
        let engine = try engine("{}", silence: 1)
        defer { engine.stop() }
        try eventually("ready") { engine.state == .ready }
        engine.requestBegan()
        let hang = home.appending(path: "hang")
        try Data().write(to: hang)
        try eventually("killed") { try !isAlive(#require(starts().first).pid) }
        try FileManager.default.removeItem(at: hang)
        engine.requestEnded()
        try eventually("ready again") { try engine.state == .ready && starts().count == 2 }
    }

    @Test func anEngineThatAnswersIsLeftAloneHoweverLongATokenTakes() throws {
        let engine = try engine("{}", silence: 0.5)
        defer { engine.stop() }
        try eventually("ready") { engine.state == .ready }
        engine.requestBegan()
        usleep(2_000_000)
        #expect(try engine.state == .ready && starts().count == 1)
    }
}
