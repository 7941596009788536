import Catalog
import JSON
import OpenAI
import Server

/// What `service_tier` chooses inside the endpoint's tier: the echoed name and the price factor (05 §8).
public struct RoutingProfile: Sendable, Equatable {
    public let name: String
    /// 10,000 = the tier's price.
    public let multiplierBasisPoints: Int

    public static let standard = RoutingProfile(name: "default", multiplierBasisPoints: 10_000)

    /// - Returns: nil for a value that is not in the table.
    public init?(named value: String) {
        switch value {
        case "auto", "default": self = .standard
        case "priority", "fast", "latency": self.init(name: "priority", multiplierBasisPoints: 15_000)
        case "scale", "throughput": self.init(name: "scale", multiplierBasisPoints: 10_000)
        case "flex", "cost": self.init(name: "flex", multiplierBasisPoints: 7_500)
        default: return nil
        }
    }

    /// What requests have that choose nothing.
    init(defaults: EndpointDefaults) { self = defaults.serviceTier.flatMap(RoutingProfile.init(named:)) ?? .standard }

    /// The member `service_tier` of a request.
    init(checking value: JSONElement) throws {
        guard let profile = RoutingProfile(named: try Fields.string(value, "service_tier")) else {
            throw APIError.invalid("service_tier", "'service_tier' must be 'auto', 'default', 'priority', 'scale' or 'flex'.")
        }
        self = profile
    }

    /// How long a request waits for a place at a busy upstream: `flex` gives time for its price, the others have their tier's.
    func wait(tier wait: Duration) -> Duration { name == "flex" ? max(wait, .seconds(60)) : wait }

    private init(name: String, multiplierBasisPoints: Int) {
        self.name = name
        self.multiplierBasisPoints = multiplierBasisPoints
    }
}
