import Supervision
import Testing

@Suite struct EngineCommandTests {
    private func command(_ values: [String: String], length: Int? = nil, own: [String: String] = [:]) throws -> EngineCommand {
        try #require(EngineCommand(AgentSettings(values), port: 4_000, key: "secret", maxModelLength: length, own: own))
    }

    @Test func llamaServerGetsItsFileItsPlacesAndTheirContext() throws {
        let it = try command(["MODEL": "/models/tiny.gguf", "MAX_MODEL_LEN": "2048", "MAX_NUM_SEQS": "2"])
        #expect(it.program == "llama-server")
        #expect(
            it.arguments == [
                "-m", "/models/tiny.gguf", "--alias", "tiny", "--host", "127.0.0.1", "--port", "4000", "-np", "2", "-ngl", "999", "--jinja",
                "-c", "4096",
            ])
        #expect(try command(["MODEL": "/a.gguf", "MODEL_TASK": "embed"]).arguments.last == "--embeddings")
        #expect(try command(["MODEL": "/a.gguf", "MODEL_TASK": "rerank"]).arguments.last == "--reranking")
    }

    @Test func vllmIsServedAsTheSpecificationSays() throws {
        let it = try command(
            [
                "MODEL": "/models/qwen", "MODEL_NAME": "qwen", "MAX_MODEL_LEN": "8192", "VLLM_QUANTIZATION": "fp8",
                "TENSOR_PARALLEL_SIZE": "2",
                "KV_OFFLOAD_GB": "8", "SPECULATIVE_ENABLED": "1", "VLLM_ARGS": "--enforce-eager  --seed 1",
                "VLLM_ENV": "A=1 B= VLLM_API_KEY=x",
            ], length: 4_096)
        #expect(it.program == "vllm")
        #expect(
            it.arguments == [
                "serve", "/models/qwen", "--served-model-name", "qwen", "--host", "127.0.0.1", "--port", "4000", "--enable-prefix-caching",
                "--gpu-memory-utilization", "0.9", "--max-num-seqs", "64", "--max-model-len", "4096", "--quantization", "fp8",
                "--tensor-parallel-size", "2", "--kv-offloading-size", "8", "--kv-offloading-backend", "native", "--speculative-config",
                #"{"method":"ngram","num_speculative_tokens":3}"#, "--enforce-eager", "--seed", "1",
            ])
        #expect(it.environment["A"] == "1" && it.environment["B"] == nil && it.environment["VLLM_API_KEY"] == "secret")
    }

    @Test(arguments: [(8, "2"), (1_024, "64"), (2, nil)]) func aQuarterOfTheMemoryIsForTheCache(gibibytes: Int, offload: String?) throws {
        let settings = try AgentSettings(["MODEL": "/models/qwen"])
        let it = try #require(EngineCommand(settings, port: 1, key: "", own: [:], memory: gibibytes << 30))
        let place = it.arguments.firstIndex(of: "--kv-offloading-size")
        #expect(place.map { it.arguments[$0 + 1] } == offload)
        let off = try AgentSettings(["MODEL": "/models/qwen", "KV_OFFLOAD_GB": "0"])
        #expect(
            EngineCommand(off, port: 1, key: "", own: [:], memory: gibibytes << 30)?.arguments.contains("--kv-offloading-size") == false)
    }

    @Test func theAgentsSecretsAreNotPassedOn() throws {
        let own = ["PATH": "/bin", "XEROTIER_AGENT_JOIN_KEY": "xjk_secret", "AWS_SECRET": "x", "CUDA_VISIBLE_DEVICES": "1"]
        let it = try command(["MODEL": "/a.gguf"], own: own)
        #expect(
            it.environment["PATH"] == "/bin" && it.environment["CUDA_VISIBLE_DEVICES"] == "1" && it.environment["HF_HUB_OFFLINE"] == "1")
        #expect(it.environment["XEROTIER_AGENT_JOIN_KEY"] == nil && it.environment["AWS_SECRET"] == nil)
        #expect(it.environment["LLAMA_API_KEY"] == "secret" && !it.arguments.contains("secret"))
    }

    @Test func aServerThatRunsAlreadyIsNotStarted() throws {
        for values in [["ENGINE_URL": "http://127.0.0.1:1"], [:]] {
            #expect(EngineCommand(try AgentSettings(values), port: 1, key: "", own: [:]) == nil)
        }
    }
}

@Suite struct CrashHistoryTests {
    @Test func pausesDoubleAndTheFifthCrashInTenMinutesIsTheLast() {
        var history = CrashHistory()
        #expect(
            (0..<5).map { history.crashed(at: Double($0)) } == [
                .restart(after: 1), .restart(after: 2), .restart(after: 4), .restart(after: 8), .failed,
            ])
    }

    @Test func oldCrashesAreForgotten() {
        var history = CrashHistory()
        for crash in 0..<20 { #expect(history.crashed(at: Double(crash) * 200) != .failed) }
        #expect(history.crashed(at: 100_000) == .restart(after: 1))
    }

    @Test func anEngineHangsWhenItIsSilentAndDoesNotAnswer() {
        var watch = HangWatch(at: 0)
        for probe in 1...3 { watch.probed(isHealthy: false, isIdle: false, at: Double(probe)) }
        #expect(!watch.hangs(at: 100) && watch.hangs(at: 120), "two minutes without a token")
        watch.sign(at: 119)
        #expect(!watch.hangs(at: 200) && watch.hangs(at: 239))
        watch.probed(isHealthy: true, isIdle: false, at: 240)
        #expect(!watch.hangs(at: 1_000), "it answers: a long prompt is no hang")
        for probe in 1...2 { watch.probed(isHealthy: false, isIdle: true, at: Double(1_000 + probe)) }
        #expect(!watch.hangs(at: 2_000), "two probes are not three")
    }
}
