/// How busy an engine says it is at its `/metrics`, in Prometheus' text. vLLM and llama.cpp say so; of others nothing is known.
struct EngineGauges: Equatable, Sendable {
    /// Part of the KV cache in use, 0...1.
    private(set) var kvUsed: Double?
    private(set) var waiting: Int?
    private(set) var running: Int?
    /// When its process began, in seconds since 1970: another one has an empty cache.
    private(set) var start: Double?

    init(_ text: Substring) {
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            guard let end = line.lastIndex(of: " "), let value = Double(line[line.index(after: end)...]), 0...1e15 ~= value else {
                continue
            }
            switch line.prefix(while: { $0 != "{" && $0 != " " }) {
            case "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "llamacpp:kv_cache_usage_ratio":
                kvUsed = max(kvUsed ?? 0, min(1, value))
            case "vllm:num_requests_waiting", "llamacpp:requests_deferred": waiting = (waiting ?? 0) + Int(min(1e6, value))
            case "vllm:num_requests_running", "llamacpp:requests_processing": running = (running ?? 0) + Int(min(1e6, value))
            case "process_start_time_seconds": start = value
            default: break
            }
        }
    }

    /// So different that the router is told before the next heartbeat.
    func differs(from other: EngineGauges?) -> Bool {
        guard let other else { return true }
        return abs((kvUsed ?? 0) - (other.kvUsed ?? 0)) >= 0.1 || abs((waiting ?? 0) - (other.waiting ?? 0)) >= 2
    }
}
