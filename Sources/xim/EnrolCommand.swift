import ArgumentParser
import Crypto
import Foundation
import Mesh
import Supervision
import ZeroMQ

/// Takes a join key to the router and keeps what comes back.
struct EnrolCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "enroll", abstract: "Enrols this machine with a join key, once.")

    @Option(help: "The join key, which may carry the router: xjk_...@https://host.") var joinKey: String?
    @Option(help: "Where the platform's API is, such as https://api.example.com.") var routerURL: String?
    @Option(help: "What the agent shall be called: 1 to 48 of a-z, 0-9 and -; the host's name if not given.") var name: String?
    @Option(help: "The most requests at a time, 0 to 4096; 0 = as many as the engine has places.") var maxConcurrent: String?
    @Flag(help: "Allow a router without TLS.") var insecure = false
    @Flag(help: "Enrol anew, with new keys, where this machine has enrolled already.") var again = false

    func run() throws {
        var flags: [String: String] = [:]
        flags["JOIN_KEY"] = joinKey
        flags["ROUTER_URL"] = routerURL
        flags["REGISTRATION_NAME"] = name
        flags["MAX_CONCURRENT"] = maxConcurrent
        if insecure { flags["ALLOW_INSECURE"] = "1" }
        let settings = try SettingSource(flags: flags).settings()
        let state = StateDirectory()
        if again { try state.forget() }
        if let before = try state.enrolment() {
            print("enrolled already as \(before.workerID)")
            return
        }
        guard let given = settings.joinKey else { throw SettingError("JOIN_KEY", "is missing") }
        let parts = given.split(separator: "@", maxSplits: 1).map(String.init)
        guard let url = settings.routerURL ?? (parts.count == 2 ? parts[1] : nil) else {
            throw SettingError("ROUTER_URL", "is missing, and the join key carries none")
        }
        guard url.hasPrefix("https://") || (settings.allowsInsecure && url.hasPrefix("http://")) else {
            throw SettingError("ROUTER_URL", "https:// is needed, or http:// with ALLOW_INSECURE")
        }
        let called = settings.name ?? ProcessInfo.processInfo.hostName.lowercased()
        guard AgentSettings.isName(called) else {
            throw SettingError("REGISTRATION_NAME", "is missing, and the host's name, '\(called)', is not 1 to 48 of a-z, 0-9 and -")
        }
        let enrolment = try Self.enrol(parts[0], at: url, called: called, most: settings.maxConcurrent, state)
        try state.save(enrolment)
        print("enrolled as \(enrolment.workerID)")
    }

    private struct Asking: Encodable {
        struct Platform: Encodable { var os, arch: String }
        var join_key, role, name, hostname, agent_version: String
        var `protocol` = 1
        var curve_public_key, signing_public_key: String
        var platform: Platform
        var accelerators: [Accelerator]
        var max_concurrent_requests: Int
    }

    private struct Answer: Decodable {
        var agent_id, worker_id, token, router_curve_public_key: String
        var project_id: String?
        var router_addrs: [String]
        var token_expires_at, refresh_after: Int
    }

    private static func enrol(_ key: String, at url: String, called name: String, most: Int, _ state: StateDirectory) throws -> Enrolment {
        let asking = Asking(
            join_key: key, role: "inference", name: name, hostname: ProcessInfo.processInfo.hostName,
            agent_version: XimAgent.configuration.version, curve_public_key: try state.curveKeys().publicKey.text,
            signing_public_key: StateDirectory.hex(try state.signingKeys().publicKey), platform: .init(os: "linux", arch: architecture),
            accelerators: Accelerators.found(), max_concurrent_requests: most)
        let answer: Answer
        switch try RouterAPI.post(asking, to: "/v1/enroll", at: url, expecting: 201) {
        case .good(let body):
            guard let read = try? JSONDecoder().decode(Answer.self, from: body) else {
                throw AgentProblem("the router's answer is no enrolment")
            }
            answer = read
        case .refused(let status, let refusal):
            throw AgentProblem(
                refusal.map { "the router refused (\($0.code)): \($0.message)" }
                    ?? "the router answered \(status), which is no enrolment")
        }
        return Enrolment(
            agentID: answer.agent_id, workerID: answer.worker_id, projectID: answer.project_id, name: name, maxConcurrent: most,
            routerURL: url,
            routerAddresses: answer.router_addrs, routerKey: answer.router_curve_public_key, token: answer.token,
            tokenExpiresAt: answer.token_expires_at, refreshAfter: answer.refresh_after)
    }

    private static var architecture: String {
        #if arch(arm64)
            "arm64"
        #else
            "x86_64"
        #endif
    }
}
