/// Whether keys that browsers hold may call an endpoint (08 §3).
public enum EndpointVisibility: String, Sendable, Codable {
    case project
    case publicKey = "public_key"
}

/// Whether answers of an endpoint are stored, and for how many days; nil days = as long as its tier keeps them.
public struct EndpointRetention: Sendable, Equatable, Codable {
    public var store = true
    public var days: Int?
    public init() {}
}

/// All that can be set on an endpoint (07 §6); a new one has the values that stand here. The upstream's API key is stored apart, sealed, and not in here.
public struct EndpointSettings: Sendable, Equatable {
    /// Empty = the slug.
    public var name = ""
    public var description = ""
    /// The name of the model as clients give it; empty = the upstream's name of it, else the slug.
    public var model = ""
    public var modelVersion = "latest"
    /// Empty = not given.
    public var tier = ""
    public var taskMode = TaskMode.generate
    public var aliases: [String] = []
    public var upstream = UpstreamSettings(urls: [])
    public var placement = EndpointPlacement()
    public var limits = EndpointLimits()
    public var defaults = EndpointDefaults()
    public var retention = EndpointRetention()
    public var prefixCache = true
    public var contextLength: Int?
    /// nil = the default one.
    public var cors: CORSPolicy?
    public var visibility = EndpointVisibility.project
    public var metadata: [String: String] = [:]

    public init() {}
}
