import Crypto
import Foundation
import ZeroMQ

/// What an agent knows of itself after it has enrolled: `enrollment.json`, and its two secret keys beside it, each readable by its user alone.
struct Enrolment: Codable, Equatable {
    var agentID: String
    var workerID: String
    /// nil = the agent is the operator's.
    var projectID: String?
    var name: String
    var maxConcurrent: Int
    var routerURL: String
    var routerAddresses: [String]
    /// Z85.
    var routerKey: String
    var token: String
    /// Seconds since 1970.
    var tokenExpiresAt: Int
    /// When to fetch the next token, in seconds since 1970; nil in files of agents that did not.
    var refreshAfter: Int?

    /// Six hours before its end, where nothing else was said.
    var refreshAt: Int { refreshAfter ?? tokenExpiresAt - 21_600 }

    private enum CodingKeys: String, CodingKey {
        case name, token
        case agentID = "agent_id"
        case workerID = "worker_id"
        case projectID = "project_id"
        case maxConcurrent = "max_concurrent"
        case routerURL = "router_url"
        case routerAddresses = "router_addrs"
        case routerKey = "router_curve_public_key"
        case tokenExpiresAt = "token_expires_at"
        case refreshAfter = "refresh_after"
    }
}

/// The directory of an agent, `~/.config/xerotier`.
struct StateDirectory {
    private let folder: URL

    init(home: String = ProcessInfo.processInfo.environment["HOME"] ?? NSHomeDirectory()) {
        folder = URL(fileURLWithPath: home).appending(path: ".config/xerotier")
    }

    private var enrolmentFile: URL { folder.appending(path: "enrollment.json") }

    /// nil before the agent has enrolled.
    func enrolment() throws -> Enrolment? {
        guard FileManager.default.fileExists(atPath: enrolmentFile.path) else { return nil }
        do { return try JSONDecoder().decode(Enrolment.self, from: Data(contentsOf: enrolmentFile)) } catch {
            throw AgentProblem("\(enrolmentFile.path) cannot be read; enroll again with a new join key")
        }
    }

    func save(_ enrolment: Enrolment) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try write(try encoder.encode(enrolment), to: "enrollment.json")
    }

    /// The CURVE keys; made once, so that an enrolment whose answer was lost can be asked for again.
    func curveKeys() throws -> CurveKeys {
        if let text = try secret("agent-curve-key.hex") { return try CurveKeys(secret: text) }
        let bytes = Random.bytes(32)
        try write(Data(Self.hex(bytes).utf8), to: "agent-curve-key.hex")
        return try CurveKeys(secret: bytes)
    }

    /// The keys of a rotation that the router may not know yet; made once, so that each router hears of the same.
    func newCurveKeys() throws -> CurveKeys {
        if let before = try secret(Self.newKeyFile) { return try CurveKeys(secret: before) }
        let bytes = Random.bytes(32)
        try write(Data(Self.hex(bytes).utf8), to: Self.newKeyFile)
        return try CurveKeys(secret: bytes)
    }

    var isRotating: Bool { FileManager.default.fileExists(atPath: folder.appending(path: Self.newKeyFile).path) }

    /// The router has let the agent in with the new keys.
    func adoptNewCurveKeys() throws {
        let new = folder.appending(path: Self.newKeyFile)
        guard rename(new.path, folder.appending(path: "agent-curve-key.hex").path) == 0 || errno == ENOENT else {
            throw AgentProblem("\(folder.path) cannot be written")
        }
    }

    private static let newKeyFile = "agent-curve-key.new.hex"

    /// Nothing of the enrolment is left, and the next one makes new keys.
    func forget() throws {
        for name in ["enrollment.json", "agent-curve-key.hex", "agent-signing-key.hex", Self.newKeyFile] {
            guard unlink(folder.appending(path: name).path) == 0 || errno == ENOENT else {
                throw AgentProblem("\(folder.path) cannot be written")
            }
        }
    }

    func signingKeys() throws -> Ed25519.Keys {
        if let seed = try secret("agent-signing-key.hex") { return Ed25519.Keys(seed: seed) }
        let seed = Random.bytes(32)
        try write(Data(Self.hex(seed).utf8), to: "agent-signing-key.hex")
        return Ed25519.Keys(seed: seed)
    }

    static func hex(_ bytes: [UInt8]) -> String { bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }

    private func secret(_ name: String) throws -> [UInt8]? {
        let file = folder.appending(path: name)
        guard let text = try? String(contentsOf: file, encoding: .utf8) else { return nil }
        let digits = text.filter { !$0.isWhitespace }.map { $0.hexDigitValue.map(UInt8.init) }
        guard digits.count == 64, !digits.contains(nil) else {
            throw AgentProblem("\(file.path) is no key: 64 hexadecimal digits are needed")
        }
        return stride(from: 0, to: 64, by: 2).map { digits[$0]! << 4 | digits[$0 + 1]! }
    }

    /// By rename, so that a crash leaves the old file or the new one.
    private func write(_ data: Data, to name: String) throws {
        let files = FileManager.default
        do {
            try files.createDirectory(at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            let new = folder.appending(path: ".\(name).new")
            try? files.removeItem(at: new)
            guard files.createFile(atPath: new.path, contents: data, attributes: [.posixPermissions: 0o600]),
                rename(new.path, folder.appending(path: name).path) == 0
            else { throw AgentProblem("\(folder.path) cannot be written") }
        } catch let problem as AgentProblem { throw problem } catch {
            throw AgentProblem("\(folder.path) cannot be written: \(error.localizedDescription)")
        }
    }
}

/// Why the agent cannot go on, in words for its user.
struct AgentProblem: Error, CustomStringConvertible {
    let description: String
    /// The router knows this agent no more.
    let isRevoked: Bool

    init(_ description: String, isRevoked: Bool = false) {
        self.description = description
        self.isRevoked = isRevoked
    }
}
