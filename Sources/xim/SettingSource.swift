import Foundation
import Supervision

/// Where this process' settings come from: its flags and its environment, which stay, and the file, which is read again on SIGHUP.
struct SettingSource: Sendable {
    private let flags: [String: String]
    private let environment: [String: String]

    init(flags: [String: String], environment: [String: String] = ProcessInfo.processInfo.environment) {
        self.flags = flags
        self.environment = environment
    }

    /// - Throws: `SettingError`.
    func settings() throws -> AgentSettings {
        let path = environment[AgentVariable.prefix + "ENV_FILE"] ?? AgentVariable.file
        let file = (try? String(contentsOfFile: path, encoding: .utf8)).map(AgentVariable.file) ?? [:]
        return try AgentSettings(AgentVariable.merged(flags: flags, environment: environment, file: file))
    }
}
