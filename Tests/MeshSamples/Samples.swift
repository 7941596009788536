import Mesh
import MessagePack

/// One frame of each kind with all of its fields, and the names of those that must be there.
package struct Sample: Sendable, CustomStringConvertible {
    package let frame: Frame
    package let required: [String]
    package let optional: [String]

    package var description: String { frame.kind.rawValue }
    package var sender: Frame.Sender { Frame.Sender.allCases.first { frame.kind.isSent(by: $0) } ?? .agent }

    package init(_ frame: Frame, _ required: String, optional: String = "") {
        self.frame = frame
        self.required = required.split(separator: " ").map(String.init)
        self.optional = optional.split(separator: " ").map(String.init)
    }

    static let model = ModelReport(
        modelID: "model_1", version: "3", state: .ready,
        facts: ModelFacts(engine: "vllm", contextLength: 8_192, vocabulary: 32_000, readsImages: true, readsAudio: false))
    static let assignment = ModelAssign(
        modelID: "model_1", version: "3", manifestURL: "https://mesh/manifest", options: ["tp": .integer(2)], action: .load)
    static let usage = Usage(promptTokens: 12, completionTokens: 34)

    package static let all = [
        Sample(
            .hello(
                Hello(
                    agentID: "agt_1", workerID: "us-east-1:agt_1", version: "1.0.0", role: .inference, token: "jwt",
                    accelerators: [Accelerator(kind: "cuda", name: "A30", memoryBytes: 25_769_803_776, index: 0, driver: "535")],
                    maxConcurrent: 8,
                    models: [model], inFlight: ["req_1"], kvSequence: 4)),
            "agent_id worker_id version role token accelerators max_concurrent models in_flight kv_seq"),
        Sample(
            .welcome(
                Welcome(
                    session: "ses_1", leaseSeconds: 30, heartbeatMilliseconds: 10_000, creditWindow: 64, cancel: ["req_2"],
                    assignments: [assignment], routerAddresses: ["tcp://a:5555", "tcp://b:5555"])),
            "session lease_seconds heartbeat_ms credit_window cancel assignments", optional: "router_addrs"),
        Sample(
            .heartbeat(
                Heartbeat(
                    inFlight: 3, waiting: 1, running: 2, kvUsed: 0.25, kvBlocks: 4_000, tokensPerSecond: 812.5,
                    prefillTokensPerSecond: 9_000,
                    memoryFree: 1, diskFree: 2, temperature: 61, models: [model], errorsInMinute: 0, inFlightIDs: ["a", "b", "c"])),
            "in_flight models errors_1m in_flight_ids",
            optional: "waiting running kv_used kv_blocks tps prefill_tps mem_free disk_free temp_c"),
        Sample(
            .leaseRenewal(
                LeaseRenewal(
                    inFlightIDs: ["inv_1"], refusedIDs: ["inv_2"], manifestHash: "ab", manifestVersion: 2, manifest: ["tools": .array([])])),
            "in_flight_ids refused_ids manifest_hash manifest_version", optional: "manifest"),
        Sample(
            .leaseAck(LeaseAck(leaseUntil: 1_700_000_000_000, resendManifest: true, resultsStored: ["inv_1"])),
            "lease_until resend_manifest results_stored"),
        Sample(
            .dispatch(
                Dispatch(
                    work: .inference(.chat, model: .init(id: "model_1", version: "3"), body: Array(#"{"messages":[]}"#.utf8)),
                    deadline: 60_000,
                    priority: -5, credit: 64, cacheSalt: "salt", prefix: [1, .max], project: "proj_1", trace: "t")),
            "task model_id version body deadline_ms priority credit prefix project", optional: "cache_salt trace"),
        Sample(
            .dispatch(
                Dispatch(
                    work: .execution(["invocation_id": .string("inv_1"), "fence": .integer(1)]), deadline: 60_000, priority: 0, credit: 64,
                    project: "proj_1")), "task body deadline_ms priority credit prefix project"),
        Sample(.accept(Accept(queuePosition: 2, estimatedTimeToFirstToken: 120.5)), "queue_pos", optional: "est_ttft_ms"),
        Sample(.reject(Reject(code: .notLoaded, fault: .agent, retryMilliseconds: 500)), "code fault retry_ms"),
        Sample(.chunk(Chunk(.events([Array("{}".utf8), Array("[]".utf8)]), tokens: 2)), "d tokens"),
        Sample(.chunk(Chunk(.bytes([1, 2, 3]), tokens: 0, isFinal: true)), "d tokens", optional: "final"),
        Sample(.credit(Credit(chunks: 32, bytes: 65_536)), "n bytes"),
        Sample(
            .done(
                Done(
                    finishReason: "stop", usage: usage, timings: Timings(queue: 1, prefill: 20.5, decode: 300), cachedTokens: 8,
                    result: .map(["exit_code": .integer(0)]))), "", optional: "finish_reason usage timings cached_tokens result"),
        Sample(
            .error(Failure(code: "engine_crashed", fault: .agent, message: "the engine has ended", partialUsage: usage)),
            "code fault message",
            optional: "partial_usage"),
        Sample(.cancel(Cancel(reason: .failover, fence: 3)), "reason", optional: "fence"),
        Sample(.progress(Progress(stream: .stderr, data: [0, 255], bytes: 99)), "stream d bytes"),
        Sample(.modelAssign(assignment), "model_id version options action", optional: "manifest_url"),
        Sample(
            .modelStatus(ModelStatus(modelID: "model_1", version: "3", state: .failed, bytesDone: 5, bytesTotal: 9, error: "disk_full")),
            "model_id version state bytes_done bytes_total", optional: "error"),
        Sample(.kvEvent(KVEvent(sequence: 7, removed: [3, 1 << 63], isCleared: false)), "kv_seq removed cleared"),
        Sample(.pause(Pause(reason: "maintenance", workspace: "ws_1")), "reason", optional: "workspace"),
        Sample(.resume(Resume(reason: "done", workspace: "ws_1")), "reason", optional: "workspace"),
        Sample(.curveRotate(CurveRotate(reason: "yearly", nonce: [UInt8](repeating: 1, count: 32))), "reason nonce"),
        Sample(
            .curveRotateAck(CurveRotateAck(newPublicKey: String(repeating: "a", count: 40), signature: [UInt8](repeating: 2, count: 64))),
            "new_public_key sig"),
        Sample(.drain(Drain(deadlineSeconds: 30)), "deadline_s"),
        Sample(.bye(Bye(reason: .version)), "reason"),
        Sample(.ping(Ping()), ""),
        Sample(
            .route(
                RouteRequest(
                    Dispatch(
                        work: .inference(.chat, model: .init(id: "model_1", version: "3"), body: Array("{}".utf8)), deadline: 60_000,
                        priority: 25, credit: 64, cacheSalt: "salt", prefix: [1, .max], project: "proj_1", trace: "req_1"),
                    isStream: true, tier: "self_hosted", queueWait: 5_000, promptTokens: 12, answerTokens: 256, contextNeed: 10,
                    profile: "default", regions: ["us-east-1"], agents: ["agt_1"], allowsSharedFallback: false, features: ["tools"],
                    ingressRegion: "us-east-1",
                    timeToFirstToken: 200, timePerToken: 20)),
            "task model_id version body deadline_ms priority credit prefix project stream tier queue_wait_ms prompt_tokens answer_tokens context_need profile",
            optional: "cache_salt trace regions agents shared_fallback features ingress_region ttft_ms tpot_ms"),
        Sample(
            .routed(
                Routed(
                    workerID: "us-east-1:agt_1", attempts: 2, queueTime: 1_200, decisionTime: 90, credit: 64, score: 0.5,
                    isExploration: true)),
            "worker_id attempts queue_us decision_us credit", optional: "score explored"),
        Sample(.extend(Extend(workerID: "us-east-1:agt_1", prefix: [1, .max])), "worker_id prefix"),
        Sample(
            .explain(
                Explain(
                    RouteRequest(
                        Dispatch(
                            work: .inference(.chat, model: .init(id: "model_1", version: "3"), body: []), deadline: 0, priority: 25,
                            credit: 0,
                            project: "proj_1"),
                        isStream: false, tier: "self_hosted", queueWait: 0, promptTokens: 12, answerTokens: 256, profile: "default"))),
            "task model_id version body deadline_ms priority credit prefix project stream tier queue_wait_ms prompt_tokens answer_tokens context_need profile"
        ),
        Sample(
            .explained(
                Explained(
                    signals: ["prefix_match"], weights: [1], sharpness: 16, epsilon: 0.05,
                    workers: [
                        .init(
                            id: "us-east-1:agt_1", region: "us-east-1", isShared: true, obstacle: "full", values: [0.5], score: 0.5,
                            probability: 0)
                    ])),
            "signals weights sharpness epsilon workers"),
    ]
}
