import Dispatch
import Routing

/// Makes many decisions among 200 and 1,000 workers, as a busy mesh would have them, and prints one JSON object for each: microseconds of one thread
/// for a decision. A decision is all of it: filters, the lookup of the prefix, thirteen signals, the draw.
@main
struct RoutingBench {
    private static let model = ModelVersion(id: "model", version: "1")
    private static let decisions = 20_000
    private static let prompts = 500

    static func main() {
        for workers in [200, 1_000] {
            for blocks in [16, 1_024] { measure(workers: workers, blocks: blocks) }
        }
    }

    private static func measure(workers count: Int, blocks: Int) {
        var generator = SplitMix64(seed: UInt64(count))
        var workers = (0..<count).map { worker($0, &generator) }
        var index = PrefixIndex(start: 0)
        let prompts = warm(&index, workers: count, blocks: blocks, &generator)
        let chooser = Chooser()
        var times: [UInt64] = []
        times.reserveCapacity(decisions)
        var explored = 0
        for round in 0..<decisions {
            var request = RoutingRequest(
                project: "proj_\(round % 50)", model: model, tier: "gpu_nvidia_shared", task: .chat, contextNeed: 4_000,
                promptTokens: blocks * 64)
            request.prefix = prompts[Int.random(in: prompts.indices, using: &generator)]
            request.ingressRegion = "us-east-1"
            let start = DispatchTime.now().uptimeNanoseconds
            let choice = chooser.choose(
                for: request, among: workers, index: index, entitlement: Entitlement(share: 0.02, used: 0.02), at: 1_000, using: &generator)
            times.append(DispatchTime.now().uptimeNanoseconds - start)
            guard case .worker(let decision) = choice else { fatalError("there are free workers") }
            explored += decision.draw.isExploration ? 1 : 0
            workers[decision.chosen].began(project: request.project, tokens: 1_000)
            workers[decision.chosen].ended(
                project: request.project, tokens: 1_000, model: model,
                .answered(
                    AnswerTimings(total: 900, queue: 5, prefill: 80, decode: 700, promptTokens: 1_000, cachedTokens: 100, outputTokens: 100)
                ),
                at: 1_000)
        }
        times.sort()
        print(
            #"{"workers": \#(count), "blocks": \#(blocks), "decisions": \#(decisions), "p50_us": \#(microseconds(times, 0.5)), "#
                + #""p99_us": \#(microseconds(times, 0.99)), "max_us": \#(microseconds(times, 1)), "explored": \#(explored)}"#)
    }

    /// Half busy, with a history, a tenth of them unable to take the request.
    private static func worker(_ place: Int, _ generator: inout SplitMix64) -> Worker {
        var worker = Worker(
            id: "us-east-\(place % 3):agt_\(place)", slot: place, project: nil, region: "us-east-\(place % 3)",
            tiers: ["gpu_nvidia_shared", "free"], leaseUntil: 1_030, maxConcurrent: 16)
        worker.models[model] = Worker.Model(
            state: place % 5 == 0 ? .onDisk : .loaded, tasks: [.chat, .completion], contextLength: 32_768, features: [.tools])
        worker.models[ModelVersion(id: "other", version: "1")] = worker.models[model]
        worker.lastHeartbeat = 1_000 - Double.random(in: 0..<10, using: &generator)
        worker.load = Worker.Load(kvUsed: .random(in: 0..<1, using: &generator), waiting: .random(in: 0..<8, using: &generator), running: 4)
        if place % 10 == 9 { worker.state = .draining }
        for _ in 0..<Int.random(in: 0..<14, using: &generator) {
            worker.began(project: "proj_\(Int.random(in: 0..<50, using: &generator))", tokens: 1_000)
        }
        return worker
    }

    /// Prompts of 50 projects. Half of each prompt is its project's system prompt, which all workers know; one worker in ten knows the rest.
    private static func warm(_ index: inout PrefixIndex, workers: Int, blocks: Int, _ generator: inout SplitMix64) -> [[UInt64]] {
        let projects = blocks > 100 ? 5 : 50
        let common = (0..<projects).map { _ in (0..<(blocks / 2)).map { _ in generator.next() } }
        let prompts = (0..<Self.prompts).map { prompt in common[prompt % projects] + (0..<(blocks / 2)).map { _ in generator.next() } }
        for slot in 0..<workers {
            for start in common { index.insert(start, at: slot, at: 900) }
            for prompt in prompts where blocks < 100 && Int.random(in: 0..<10, using: &generator) == 0 {
                index.insert(prompt, at: slot, at: 950)
            }
        }
        return prompts
    }

    private static func microseconds(_ sorted: [UInt64], _ part: Double) -> Double {
        (Double(sorted[min(sorted.count - 1, Int(part * Double(sorted.count)))]) / 100).rounded() / 10
    }
}
