/// What `service_tier` asks for inside of the endpoint's tier (05 §8).
public enum RoutingProfile: String, Sendable, CaseIterable {
    case balanced, latency, throughput, cost
    /// The Batch API's.
    case batch

    /// The profile of a request's `service_tier`; nil for a value that the API does not know.
    public init?(serviceTier: String?) {
        switch serviceTier {
        case nil, "auto", "default": self = .balanced
        case "priority", "fast", "latency": self = .latency
        case "scale", "throughput": self = .throughput
        case "flex", "cost": self = .cost
        default: return nil
        }
    }

    /// Signals that count twice.
    var doubled: [Signal] {
        switch self {
        case .balanced: []
        case .latency: [.latency, .queueDepth, .sloHeadroom]
        case .throughput: [.freeConcurrency, .throughput]
        case .cost, .batch: [.modelAffinity, .prefixMatch]
        }
    }

    /// Added to the priority of the tier.
    public var priority: Int {
        switch self {
        case .balanced, .throughput: 0
        case .latency: 5
        case .cost: -5
        case .batch: -10
        }
    }
}
