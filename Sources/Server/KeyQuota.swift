/// What one key may use in a sliding window (08 §2.3).
public struct KeyQuota: Sendable, Codable, Hashable {
    public var requests: Int
    public var windowSeconds: Int
    /// nil = any number.
    public var tokens: Int?

    public init(requests: Int, windowSeconds: Int, tokens: Int? = nil) {
        self.requests = requests
        self.windowSeconds = windowSeconds
        self.tokens = tokens
    }

    private enum CodingKeys: String, CodingKey {
        case requests, tokens
        case windowSeconds = "window_seconds"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(requests, forKey: .requests)
        try container.encode(windowSeconds, forKey: .windowSeconds)
        try container.encode(tokens, forKey: .tokens)
    }
}
