import Supervision
import Testing

@Suite struct AgentSettingsTests {
    @Test func whatIsNotSaidIsAsTheSpecificationHasIt() throws {
        let settings = try AgentSettings([:])
        #expect(settings.engine == .auto && settings.vllmPath == "vllm" && settings.llamacppPath == "llama-server")
        #expect(settings.maxConcurrent == 0 && settings.gpuMemoryUtilization == 0.9 && settings.maxSequences == nil)
        #expect(settings.kvBackend == .native && settings.speculation == nil && settings.speculativeTokens == 3)
        #expect(settings.startupTimeout == 900 && settings.shutdownGrace == 300 && settings.logLevel == .info)
        #expect(settings.metricsPort == 9_094 && settings.metricsAddress == "127.0.0.1" && !settings.allowsInsecure)
        #expect(settings.coalesceMilliseconds == 20 && !settings.startsEngine)
    }

    /// Each variable with a value at each end of its range, and what lies beyond.
    static let ranges: [(String, good: [String], bad: [String])] = [
        ("ROUTER_URL", ["https://a.example"], ["ftp://a", "http://a", "a"]), ("REGISTRATION_NAME", ["gpu-01"], ["GPU", "-a", "a b"]),
        ("MAX_CONCURRENT", ["0", "4096"], ["-1", "4097", "x"]), ("ENGINE", ["auto"], ["ollama"]),
        ("ENGINE_URL", ["http://127.0.0.1:8000"], ["127.0.0.1:8000"]), ("MODEL_TASK", ["chat", "embed", "rerank"], ["speak"]),
        ("VLLM_ENV", ["A=1 B="], ["=1", "A"]), ("TENSOR_PARALLEL_SIZE", ["auto", "1", "16"], ["0", "17"]),
        ("GPU_MEMORY_UTILIZATION", ["0.01", "1", "90", "100"], ["0", "-1", "101", "x"]), ("MAX_MODEL_LEN", ["128"], ["127"]),
        ("MAX_NUM_SEQS", ["1", "4096"], ["0", "4097"]), ("VLLM_QUANTIZATION", ["bitsandbytes-fp4", "none"], ["int3"]),
        ("KV_CACHE_BACKEND", ["native", "lmcache", "none"], ["disk"]), ("KV_OFFLOAD_GB", ["0", "64"], ["-1"]),
        ("SPECULATIVE_ENABLED", ["0", "1"], ["2"]), ("SPECULATIVE_METHOD", ["qwen3_next_mtp"], ["guess"]),
        ("SPECULATIVE_TOKENS", ["1", "16"], ["0", "17"]), ("STARTUP_TIMEOUT_S", ["30", "7200"], ["29", "7201"]),
        ("METRICS_PORT", ["1", "65535"], ["0", "65536"]), ("DISABLE_METRICS_SERVER", ["1"], ["maybe"]),
        ("SHUTDOWN_GRACE_SECONDS", ["0", "3600"], ["-1", "3601"]), ("LOG_LEVEL", ["trace", "critical"], ["loud"]),
        ("ALLOW_INSECURE", ["true"], ["perhaps"]),
        ("CHUNK_COALESCE_MS", ["0", "100"], ["-1", "101"]),
        // Not yet supported, and refused rather than ignored.
        ("MODEL_CACHE_DIR", [], ["/models"]), ("MODEL_CACHE_MAX_SIZE_GB", [], ["100"]), ("DOWNLOAD_PARALLEL", [], ["8"]),
        ("VLLM_SALT_SECRET", [], [String(repeating: "x", count: 32)]), ("VLLM_SOCKET_PATH", [], ["/run/vllm.sock"]),
        ("CREDIT_WINDOW", [], ["64"]),
    ]

    @Test(arguments: ranges) func aBadValueNamesItsVariableAndItsFlag(_ name: String, _ good: [String], _ bad: [String]) throws {
        for value in good { _ = try AgentSettings([name: value]) }
        for value in bad {
            let error = #expect(throws: SettingError.self) { try AgentSettings([name: value]) }
            #expect(error?.variable == name && "\(error!)".hasPrefix("XEROTIER_AGENT_\(name) (\(AgentVariable.flag(of: name))): "))
        }
    }

    @Test func partsMustFitTogether() throws {
        for (values, name) in [
            (["ENGINE": "openai"], "ENGINE_URL"), (["ENGINE": "vllm"], "MODEL"),
            (["ENGINE": "vllm", "ENGINE_URL": "http://a"], "ENGINE_URL"),
            (["MODEL": "/m.gguf", "ENGINE_URL": "http://a"], "MODEL"),
        ] {
            #expect(#expect(throws: SettingError.self) { try AgentSettings(values) }?.variable == name)
        }
        #expect(try AgentSettings(["GPU_MEMORY_UTILIZATION": "85"]).gpuMemoryUtilization == 0.85)
        #expect(try AgentSettings(["ROUTER_URL": "http://a", "ALLOW_INSECURE": "1"]).routerURL == "http://a")
        #expect(try AgentSettings(["DISABLE_METRICS_SERVER": "1"]).metricsPort == nil)
    }

    @Test func flagsComeBeforeTheEnvironmentAndThatBeforeTheFile() throws {
        let file = AgentVariable.file("# a comment\nXEROTIER_AGENT_LOG_LEVEL=debug\nXEROTIER_AGENT_MODEL=\"/a b\"\n\nOTHER=1\n")
        let environment = [
            "XEROTIER_AGENT_LOG_LEVEL": "error", "XEROTIER_ROUTER_URL": "https://r", "PATH": "/bin", "XEROTIER_AGENT_ENGINE": "",
        ]
        let flags = try AgentVariable.flags(["--log-level=trace", "--max-concurrent", "5", "--allow-insecure"])
        #expect(
            try AgentVariable.merged(flags: flags, environment: environment, file: file) == [
                "LOG_LEVEL": "trace", "MAX_CONCURRENT": "5", "ALLOW_INSECURE": "1", "ROUTER_URL": "https://r", "MODEL": "/a b",
            ])
        #expect(try AgentVariable.merged(flags: [:], environment: environment, file: file)["LOG_LEVEL"] == "error")
        #expect(throws: AgentVariable.UnknownFlag.self) { try AgentVariable.flags(["--log-levle", "trace"]) }
        #expect(#expect(throws: SettingError.self) { try AgentVariable.flags(["--model"]) }?.variable == "MODEL")
        let misspelt = ["XEROTIER_AGENT_MAX_CONCURENT": "1"]
        #expect(
            #expect(throws: SettingError.self) { try AgentVariable.merged(flags: [:], environment: misspelt, file: [:]) }?.variable
                == "MAX_CONCURENT")
    }
}
