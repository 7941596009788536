import OpenAI

/// Which browser pages may call an endpoint (08 §3): what GET and PUT `endpoints/{id}/cors` show, and the column `endpoints.cors` holds.
///
/// Every value has been held to its grammar, so that any of them can stand in a header.
public struct CORSPolicy: Sendable, Equatable, Codable {
    /// `*`, `scheme://host[:port]` as browsers write origins, or `https://*.example.com` for one label.
    public var allowOrigins: [String]
    public var allowMethods: [String]
    /// Names of headers, or `*`.
    public var allowHeaders: [String]
    /// Seconds for which a browser may remember a preflight's answer.
    public var maxAge: Int
    public var allowCredentials: Bool

    /// What holds where nothing was set.
    public static let standard = CORSPolicy(
        allowOrigins: ["*"], allowMethods: ["GET", "POST", "OPTIONS"], allowHeaders: ["Content-Type", "Authorization"], maxAge: longestAge,
        allowCredentials: false)

    public static let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
    public static let mostOrigins = 100
    public static let mostHeaders = 50
    public static let longestAge = 86_400

    public var allowsAnyOrigin: Bool { allowOrigins.contains("*") }
    public var allowsAnyHeader: Bool { allowHeaders.contains("*") }

    private enum CodingKeys: String, CodingKey {
        case allowOrigins = "allow_origins"
        case allowMethods = "allow_methods"
        case allowHeaders = "allow_headers"
        case maxAge = "max_age"
        case allowCredentials = "allow_credentials"
    }
}
