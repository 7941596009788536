/// Which agents serve an endpoint (07 §6); without a restriction, all that have its model. It counts where agents serve.
public struct EndpointPlacement: Sendable, Equatable, Codable {
    /// Ids of agents; empty = any.
    public var agents: [String] = []
    /// Empty = any.
    public var regions: [String] = []
    /// Whether shared agents may answer while the project's own, which it has for the model, cannot.
    public var allowsSharedFallback = false

    public init() {}

    private enum CodingKeys: String, CodingKey {
        case agents, regions
        case allowsSharedFallback = "allow_shared_fallback"
    }

    /// Regions that are left for a request that names one; nil = any, empty = none.
    public func regions(pinnedTo region: String?) -> [String]? {
        guard let region else { return regions.isEmpty ? nil : regions }
        return regions.isEmpty || regions.contains(region) ? [region] : []
    }

    /// 1 to 24 ASCII characters without spaces and colons, such as `us-east-1`.
    public static func isRegion(_ text: String) -> Bool {
        1...24 ~= text.utf8.count && text.utf8.allSatisfy { 0x21...0x7E ~= $0 && $0 != UInt8(ascii: ":") }
    }
}
