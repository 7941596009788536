/// The thirteen things that a worker is judged by (05 §3); the raw value is the place in `SignalValues`.
public enum Signal: Int, Sendable, CaseIterable {
    case modelAffinity, prefixMatch, latency, kvPressure, queueDepth, freeConcurrency, errorRate, regionProximity, fairShare, tierMatch
    case sloHeadroom, heartbeatFreshness, throughput

    /// As `explain` and `router.yaml` spell it.
    public var name: String {
        switch self {
        case .modelAffinity: "model_affinity"
        case .prefixMatch: "prefix_match"
        case .latency: "latency_ewma"
        case .kvPressure: "kv_pressure"
        case .queueDepth: "queue_depth"
        case .freeConcurrency: "free_concurrency"
        case .errorRate: "error_rate"
        case .regionProximity: "region_proximity"
        case .fairShare: "fair_share"
        case .tierMatch: "tier_match"
        case .sloHeadroom: "slo_headroom"
        case .heartbeatFreshness: "heartbeat_freshness"
        case .throughput: "throughput_tps"
        }
    }
}

/// A number for each signal; lanes beyond the thirteenth are 0 and room for more signals.
public struct SignalValues: Sendable, Equatable {
    var lanes = SIMD16<Double>()

    public init() {}

    public init(_ value: (Signal) -> Double) {
        for signal in Signal.allCases { self[signal] = value(signal) }
    }

    public subscript(signal: Signal) -> Double {
        get { lanes[signal.rawValue] }
        set { lanes[signal.rawValue] = newValue }
    }
}
