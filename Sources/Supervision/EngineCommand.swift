import Glibc

/// How an engine is started: its program, its arguments, and its whole environment.
package struct EngineCommand: Sendable, Equatable {
    package var program: String
    package var arguments: [String]
    /// The engine's key is here rather than among the arguments, which every user of the machine can see.
    package var environment: [String: String]

    /// Nobody is called but us, and nothing is fetched behind our back (05 §17).
    private static let quiet = [
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    ]
    /// Of our own environment: what programs and devices need. The agent's secrets are not among them.
    private static let inherited: Set<String> = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH"]
    private static let inheritedPrefixes = ["CUDA_", "NVIDIA_", "HIP_", "ROCR_", "OMP_", "GGML_", "ONEAPI_", "ZENDNN_"]
    /// llama.cpp divides its context among its places, so that vLLM's 64 would leave each too little.
    private static let usualSlots = 4
    private static let usualSequences = 64
    private static let mostOffload = 64

    /// - Parameters:
    ///   - port: on 127.0.0.1.
    ///   - maxModelLength: instead of the settings', after the engine ran out of memory.
    ///   - own: the agent's environment.
    ///   - memory: of the machine, in bytes.
    /// - Returns: nil where the agent starts no engine.
    package init?(
        _ settings: AgentSettings, port: Int, key: String, maxModelLength: Int? = nil, own: [String: String],
        memory: Int = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
    ) {
        guard settings.startsEngine, let model = settings.model, let name = settings.servedName else { return nil }
        let length = maxModelLength ?? settings.maxModelLength
        environment = own.filter { entry in
            Self.inherited.contains(entry.key) || Self.inheritedPrefixes.contains { entry.key.hasPrefix($0) }
        }.merging(Self.quiet) { $1 }
        if settings.engine == .llamacpp || (settings.engine == .auto && model.hasSuffix(".gguf")) {
            program = settings.llamacppPath
            arguments = Self.llamacpp(settings, model, name, port, length)
            environment["LLAMA_API_KEY"] = key
        } else {
            program = settings.vllmPath
            arguments = Self.vllm(settings, model, name, port, length, memory)
            for entry in settings.vllmEnvironment {
                let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                if !parts[1].isEmpty { environment[parts[0]] = parts[1] }
            }
            environment["VLLM_API_KEY"] = key
        }
    }

    /// How many requests the engine works on at a time.
    package static func slots(_ settings: AgentSettings) -> Int {
        settings.maxSequences ?? (settings.model?.hasSuffix(".gguf") == true ? usualSlots : usualSequences)
    }

    private static func llamacpp(_ settings: AgentSettings, _ model: String, _ name: String, _ port: Int, _ length: Int?) -> [String] {
        let slots = settings.maxSequences ?? usualSlots
        var arguments = [
            "-m", model, "--alias", name, "--host", "127.0.0.1", "--port", "\(port)", "-np", "\(slots)", "-ngl", "999", "--jinja",
        ]
        // `-c` is the context of all places together.
        if let length { arguments += ["-c", "\(length * slots)"] }
        switch settings.task {
        case .chat: break
        case .embed: arguments.append("--embeddings")
        case .rerank: arguments.append("--reranking")
        }
        return arguments
    }

    private static func vllm(
        _ settings: AgentSettings, _ model: String, _ name: String, _ port: Int, _ length: Int?, _ memory: Int
    ) -> [String] {
        var arguments = [
            "serve", model, "--served-model-name", name, "--host", "127.0.0.1", "--port", "\(port)", "--enable-prefix-caching",
            "--gpu-memory-utilization", "\(settings.gpuMemoryUtilization)", "--max-num-seqs", "\(settings.maxSequences ?? usualSequences)",
        ]
        if let length { arguments += ["--max-model-len", "\(length)"] }
        if let quantization = settings.quantization, quantization != .none { arguments += ["--quantization", quantization.rawValue] }
        if let size = settings.tensorParallelSize { arguments += ["--tensor-parallel-size", "\(size)"] }
        let gibibytes = settings.kvOffload ?? min(mostOffload, (memory >> 30) / 4)
        if settings.kvBackend != .none, gibibytes > 0 {
            arguments += ["--kv-offloading-size", "\(gibibytes)", "--kv-offloading-backend", settings.kvBackend.rawValue]
        }
        if let method = settings.speculation {
            let named = method == .auto ? AgentSettings.Speculation.ngram : method
            arguments += [
                "--speculative-config", #"{"method":"\#(named.rawValue)","num_speculative_tokens":\#(settings.speculativeTokens)}"#,
            ]
        }
        switch settings.task {
        case .chat: break
        case .embed: arguments += ["--task", "embed"]
        case .rerank: arguments += ["--task", "score"]
        }
        return arguments + settings.vllmArguments
    }
}
