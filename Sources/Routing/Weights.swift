/// How much each signal counts. Only the proportions matter.
public struct Weights: Sendable, Equatable {
    public private(set) var values: SignalValues
    private var sum: Double

    public enum Problem: Error, Equatable {
        /// A weight is negative or no finite number.
        case invalid(Signal)
        case allAreZero
    }

    /// - Throws: `Problem`.
    public init(_ values: SignalValues) throws(Problem) {
        for signal in Signal.allCases where !(values[signal] >= 0 && values[signal] < .infinity) { throw .invalid(signal) }
        guard values.lanes.sum() > 0 else { throw .allAreZero }
        self.init(checked: values)
    }

    private init(checked values: SignalValues) {
        self.values = values
        sum = values.lanes.sum()
    }

    public static let standard = Weights(
        checked: SignalValues {
            switch $0 {
            case .modelAffinity: 0.16
            case .prefixMatch: 0.18
            case .latency: 0.12
            case .kvPressure: 0.08
            case .queueDepth: 0.09
            case .freeConcurrency: 0.07
            case .errorRate: 0.08
            case .regionProximity: 0.05
            case .fairShare: 0.05
            case .tierMatch: 0.03
            case .sloHeadroom: 0.04
            case .heartbeatFreshness: 0.02
            case .throughput: 0.03
            }
        })

    /// A profile doubles some weights, hints double latency and headroom; both together multiply.
    public func adjusted(for profile: RoutingProfile, hasHints: Bool) -> Weights {
        let doubled = profile.doubled + (hasHints ? [.latency, .sloHeadroom] : [])
        guard !doubled.isEmpty else { return self }
        var values = values
        for signal in doubled { values[signal] *= 2 }
        return Weights(checked: values)
    }

    /// In 0...1 where the signals are.
    public func score(_ signals: SignalValues) -> Double { (values.lanes * signals.lanes).sum() / sum }
}
