/// The agent's whole configuration (05 §16), checked.
package struct AgentSettings: Sendable, Equatable {
    package enum EngineKind: String, Sendable, CaseIterable { case vllm, llamacpp, openai, auto }
    package enum Task: String, Sendable, CaseIterable { case chat, embed, rerank }
    package enum KVBackend: String, Sendable, CaseIterable { case native, lmcache, none }
    package enum Quantization: String, Sendable, CaseIterable {
        case awq, gptq, fp8, bitsandbytes
        case bitsandbytesFP4 = "bitsandbytes-fp4"
        case none
    }
    package enum Speculation: String, Sendable, CaseIterable {
        case auto, ngram, eagle, medusa, mtp
        case deepseek = "deepseek_mtp"
        case qwen = "qwen3_next_mtp"
        case mimo = "mimo_mtp"
    }
    package enum LogLevel: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error, critical }

    package var joinKey: String?
    package var routerURL: String?
    package var name: String?
    /// 0 = as many as the engine has places.
    package var maxConcurrent: Int
    package var engine: EngineKind
    package var engineURL: String?
    package var engineAPIKey: String?
    /// What the engine loads: a GGUF file for llama.cpp, a directory for vLLM.
    package var model: String?
    /// What requests call it; nil = the last part of its path.
    package var modelName: String?
    package var task: Task
    package var vllmPath: String
    package var llamacppPath: String
    package var vllmArguments: [String]
    /// `NAME=value`
    package var vllmEnvironment: [String]
    package var tensorParallelSize: Int?
    package var gpuMemoryUtilization: Double
    package var maxModelLength: Int?
    /// nil = the engine's usual number.
    package var maxSequences: Int?
    package var quantization: Quantization?
    package var kvBackend: KVBackend
    /// GiB of the CPU's memory; 0 = off, nil = a quarter of it, and at most 64.
    package var kvOffload: Int?
    package var speculation: Speculation?
    package var speculativeTokens: Int
    /// Seconds from start to healthy.
    package var startupTimeout: Int
    /// nil = no metrics are served.
    package var metricsPort: Int?
    package var metricsAddress: String
    /// Seconds that what runs may go on after SIGTERM.
    package var shutdownGrace: Int
    package var logLevel: LogLevel
    package var allowsInsecure: Bool
    package var coalesceMilliseconds: Int

    /// What the router calls an agent (05 §11).
    package static func isName(_ text: String) -> Bool { text.wholeMatch(of: /[a-z0-9][a-z0-9-]{0,47}/) != nil }

    /// - Parameter values: by variable, without prefix and without empty ones; see `AgentVariable.merged`.
    /// - Throws: `SettingError`, which names the first variable that is wrong.
    package init(_ values: [String: String]) throws {
        let values = SettingValues(values)
        // Refused rather than ignored: who sets them expects what they do.
        for later in ["MODEL_CACHE_DIR", "MODEL_CACHE_MAX_SIZE_GB", "DOWNLOAD_PARALLEL"] {
            try values.refuse(later, "is not yet supported: models are not synchronised; MODEL names what the engine loads")
        }
        try values.refuse("VLLM_SALT_SECRET", "is not yet supported: the router's salt is used")
        try values.refuse("VLLM_SOCKET_PATH", "is not yet supported: the engine is at a port of 127.0.0.1")
        try values.refuse("CREDIT_WINDOW", "is not yet supported: the router's window is used")
        allowsInsecure = try values.flag("ALLOW_INSECURE")
        joinKey = values["JOIN_KEY"]
        routerURL = values["ROUTER_URL"]
        if let routerURL, !routerURL.hasPrefix("https://"), !(allowsInsecure && routerURL.hasPrefix("http://")) {
            throw SettingError("ROUTER_URL", "https:// is needed, or http:// with ALLOW_INSECURE")
        }
        name = values["REGISTRATION_NAME"]
        if let name, !Self.isName(name) { throw SettingError("REGISTRATION_NAME", "'\(name)' is not 1 to 48 of a-z, 0-9 and -") }
        maxConcurrent = try values.integer("MAX_CONCURRENT", 0...4_096) ?? 0
        engine = try values.choice("ENGINE") ?? .auto
        engineURL = values["ENGINE_URL"]
        engineAPIKey = values["ENGINE_API_KEY"]
        model = values["MODEL"]
        modelName = values["MODEL_NAME"]
        task = try values.choice("MODEL_TASK") ?? .chat
        vllmPath = values["VLLM_PATH"] ?? "vllm"
        llamacppPath = values["LLAMACPP_PATH"] ?? "llama-server"
        vllmArguments = values.words("VLLM_ARGS")
        vllmEnvironment = values.words("VLLM_ENV")
        tensorParallelSize = try values.integer("TENSOR_PARALLEL_SIZE", 1...16, auto: true)
        gpuMemoryUtilization = try values.part("GPU_MEMORY_UTILIZATION") ?? 0.90
        maxModelLength = try values.integer("MAX_MODEL_LEN", 128...100_000_000)
        maxSequences = try values.integer("MAX_NUM_SEQS", 1...4_096)
        quantization = try values.choice("VLLM_QUANTIZATION")
        kvBackend = try values.choice("KV_CACHE_BACKEND") ?? .native
        kvOffload = try values.integer("KV_OFFLOAD_GB", 0...65_536)
        let isSpeculative = try values.flag("SPECULATIVE_ENABLED")
        let method: Speculation = try values.choice("SPECULATIVE_METHOD") ?? .auto
        speculation = isSpeculative ? method : nil
        speculativeTokens = try values.integer("SPECULATIVE_TOKENS", 1...16) ?? 3
        startupTimeout = try values.integer("STARTUP_TIMEOUT_S", 30...7_200) ?? 900
        let port = try values.integer("METRICS_PORT", 1...65_535) ?? 9_094
        metricsPort = try values.flag("DISABLE_METRICS_SERVER") ? nil : port
        metricsAddress = values["METRICS_ADDR"] ?? "127.0.0.1"
        shutdownGrace = try values.integer("SHUTDOWN_GRACE_SECONDS", 0...3_600) ?? 300
        logLevel = try values.choice("LOG_LEVEL") ?? .info
        coalesceMilliseconds = try values.integer("CHUNK_COALESCE_MS", 0...100) ?? 20
        try checkEngine()
    }

    private func checkEngine() throws {
        if let engineURL, !engineURL.hasPrefix("http://"), !engineURL.hasPrefix("https://") {
            throw SettingError("ENGINE_URL", "must be http:// or https://")
        }
        if engine == .openai && engineURL == nil { throw SettingError("ENGINE_URL", "is needed where ENGINE is openai") }
        if engineURL != nil && (engine == .vllm || engine == .llamacpp) {
            throw SettingError("ENGINE_URL", "is for ENGINE openai: a server that runs already")
        }
        if model != nil && engineURL != nil { throw SettingError("MODEL", "a server that runs already has its own models") }
        if model == nil && (engine == .vllm || engine == .llamacpp) {
            throw SettingError("MODEL", "is needed where ENGINE is \(engine.rawValue)")
        }
        if let modelName, modelName.utf8.count > 256 { throw SettingError("MODEL_NAME", "has at most 256 bytes") }
        for entry in vllmEnvironment where entry.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*=.*/) == nil {
            throw SettingError("VLLM_ENV", "'\(entry)' is not NAME=value")
        }
    }

    /// Whether the engine is started and watched by the agent.
    package var startsEngine: Bool { model != nil && engineURL == nil }

    /// What requests call the model of an engine that the agent starts.
    package var servedName: String? {
        modelName ?? model.map { String($0.split(separator: "/").last ?? "model").replacing(".gguf", with: "") }
    }
}
