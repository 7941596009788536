import Mesh
import Routing

/// A request of a gateway, from its coming until its last frame.
final class MeshRequest {
    enum State {
        /// It is about to get a worker.
        case arrived
        case waiting(RequestQueue<String>.Ticket)
        /// An attempt has failed; the next one comes then.
        case pausing(until: Instant)
        case running(worker: String)
    }

    let id: String
    /// Where it came in, and its frames go.
    let gateway: GatewayConnection
    let route: RouteRequest
    var routing: RoutingRequest
    let pool: PoolName
    let arrival: Instant
    /// When it has waited too long for a place.
    let queueEnd: Instant
    let deadline: Instant
    var state = State.arrived

    /// Counts dispatches; the agent's frames name it.
    var attempt = 0
    /// Attempts that failed by an agent's fault.
    var faults = 0
    var order = FrameOrder(attempt: 0)
    /// Frames to the agent of this attempt.
    var sequence = 0
    var dispatchedAt: Instant = 0
    /// Until when the agent must say that it has taken it; nil = it has.
    var acceptEnd: Instant?
    /// Something of the present attempt's answer has gone to the gateway.
    var hasBegun = false
    /// Chunks that the gateway has not given credits for yet.
    var unackedChunks = 0
    var unackedBytes = 0
    var window = StreamWindow(places: 1)
    /// Blocks of the prompt that the worker of this attempt was expected to have in its cache.
    var expectedBlocks = 0
    var queueTime: Double = 0
    var decisionTime: Double = 0
    /// What the last failed attempt was about.
    var lastFailure = "upstream_error"

    init(
        _ message: Message, _ route: RouteRequest, _ model: ModelVersion, from gateway: GatewayConnection, in region: String,
        at now: Instant
    ) {
        id = message.id
        self.gateway = gateway
        self.route = route
        arrival = now
        queueEnd = now + Double(route.queueWait) / 1_000
        deadline = now + Double(route.dispatch.deadline) / 1_000
        pool = PoolName(tier: route.tier, model: model)
        routing = RoutingRequest(
            project: route.dispatch.project, model: model, tier: route.tier, task: TaskMode(rawValue: route.task) ?? .chat,
            contextNeed: route.contextNeed, promptTokens: route.promptTokens)
        routing.regions = route.regions.map(Set.init)
        routing.agents = route.agents.map(Set.init)
        routing.allowsSharedFallback = route.allowsSharedFallback
        routing.features = Features(named: route.features)
        routing.ingressRegion = route.ingressRegion ?? region
        routing.prefix = route.dispatch.prefix
        routing.profile = RoutingProfile(serviceTier: route.profile) ?? .balanced
        routing.hints = LatencyHints(timeToFirstToken: route.timeToFirstToken, timePerToken: route.timePerToken)
    }

    var tokens: Int { route.promptTokens + route.answerTokens }

    /// Once a client may have seen a part of the answer there is no other attempt.
    var mayTryAgain: Bool { !(route.isStream && hasBegun) && faults < Self.mostFaults && attempt < Self.mostDispatches }

    private static let mostFaults = 3
    /// As long as all workers say that they are busy.
    private static let mostDispatches = 900
}

/// Workers of a tier that have a model; requests wait for all of them together.
struct PoolName: Hashable {
    var tier: String
    var model: ModelVersion
}

struct Pool {
    var queue = RequestQueue<String>()
    var shares = FairShare()
}

extension Features {
    /// What is not known is not asked for.
    init(named names: [String]) {
        self = []
        for name in names {
            switch name {
            case "tools": insert(.tools)
            case "vision": insert(.vision)
            case "guided_decoding": insert(.guidedDecoding)
            default: break
            }
        }
    }
}

extension RouteRequest {
    var task: String {
        if case .inference(let task, _, _) = dispatch.work { return task.rawValue }
        return ""
    }
}
