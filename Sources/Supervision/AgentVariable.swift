/// A value of the agent's configuration that cannot be, naming the variable and its flag.
package struct SettingError: Error, Equatable, CustomStringConvertible {
    /// Without `XEROTIER_AGENT_`.
    package var variable: String
    package var problem: String

    package init(_ variable: String, _ problem: String) {
        self.variable = variable
        self.problem = problem
    }

    package var description: String { "XEROTIER_AGENT_\(variable) (\(AgentVariable.flag(of: variable))): \(problem)" }
}

/// The names of the agent's settings, and where their values come from (05 §16): flags, then the environment, then the file.
package enum AgentVariable {
    package static let prefix = "XEROTIER_AGENT_"
    package static let file = "/etc/xerotier/xim-agent.env"

    /// In the order of 05 §16. `MODEL`, `MODEL_NAME` and `MODEL_TASK` say what the engine loads until models are synchronised.
    package static let all = [
        "JOIN_KEY", "ROUTER_URL", "REGISTRATION_NAME", "MAX_CONCURRENT", "ENGINE", "ENGINE_URL", "ENGINE_API_KEY", "MODEL", "MODEL_NAME",
        "MODEL_TASK", "VLLM_PATH", "LLAMACPP_PATH", "VLLM_ARGS", "VLLM_ENV", "TENSOR_PARALLEL_SIZE", "GPU_MEMORY_UTILIZATION",
        "MAX_MODEL_LEN", "MAX_NUM_SEQS", "VLLM_QUANTIZATION", "KV_CACHE_BACKEND", "KV_OFFLOAD_GB", "SPECULATIVE_ENABLED",
        "SPECULATIVE_METHOD", "SPECULATIVE_TOKENS", "VLLM_SALT_SECRET", "VLLM_SOCKET_PATH", "STARTUP_TIMEOUT_S", "MODEL_CACHE_DIR",
        "MODEL_CACHE_MAX_SIZE_GB", "DOWNLOAD_PARALLEL", "METRICS_PORT", "METRICS_ADDR", "DISABLE_METRICS_SERVER",
        "SHUTDOWN_GRACE_SECONDS", "LOG_LEVEL", "ALLOW_INSECURE", "CREDIT_WINDOW", "CHUNK_COALESCE_MS",
    ]
    private static let switches: Set<String> = ["SPECULATIVE_ENABLED", "DISABLE_METRICS_SERVER", "ALLOW_INSECURE"]

    /// `--max-concurrent` of `MAX_CONCURRENT`.
    package static func flag(of variable: String) -> String { "--" + variable.lowercased().replacing("_", with: "-") }

    package struct UnknownFlag: Error, CustomStringConvertible {
        let text: String
        package var description: String { "\(text): there is no such flag; --help shows them" }
    }

    /// Reads `--max-concurrent 4`, `--max-concurrent=4` and switches such as `--allow-insecure`.
    package static func flags(_ arguments: [String]) throws -> [String: String] {
        let byFlag = Dictionary(uniqueKeysWithValues: all.map { (flag(of: $0), $0) })
        var found: [String: String] = [:]
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let variable = byFlag[parts[0]] else { throw UnknownFlag(text: argument) }
            if parts.count == 2 {
                found[variable] = parts[1]
            } else if switches.contains(variable) {
                found[variable] = "1"
            } else if let value = rest.popFirst() {
                found[variable] = value
            } else {
                throw SettingError(variable, "a value is missing")
            }
        }
        return found
    }

    /// Lines `NAME=value` as systemd reads them; comments and blank lines are passed over.
    package static func file(_ text: String) -> [String: String] {
        var found: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !line.hasPrefix("#") else { continue }
            var value = parts[1]
            for quote in ["\"", "'"] where value.count >= 2 && value.hasPrefix(quote) && value.hasSuffix(quote) {
                value = value.dropFirst().dropLast()
                break
            }
            found[String(parts[0].drop(while: \.isWhitespace))] = String(value)
        }
        return found
    }

    /// The values by name without prefix: flags before the environment before the file. Empty ones count as absent.
    /// - Throws: `SettingError` for a name that begins like ours and is none: a misspelt limit would be no limit.
    package static func merged(flags: [String: String], environment: [String: String], file: [String: String]) throws -> [String: String] {
        var values: [String: String] = [:]
        for source in [file, environment] {
            if let url = source["XEROTIER_ROUTER_URL"] { values["ROUTER_URL"] = url }
            for (name, value) in source where name.hasPrefix(prefix) { values[String(name.dropFirst(prefix.count))] = value }
        }
        // It names the file itself.
        values["ENV_FILE"] = nil
        for name in values.keys.sorted() where !all.contains(name) { throw SettingError(name, "there is no such variable") }
        return values.merging(flags) { $1 }.filter { !$0.value.isEmpty }
    }
}
