import Server

/// A policy made ready to decide. A class, so that an endpoint's record stays small to copy.
public final class CORSRules: CrossOriginPolicy, Equatable {
    public let policy: CORSPolicy
    private let origins: Set<String>
    /// `.example.com` of `https://*.example.com`.
    private let suffixes: [String]
    private let headers: Set<String>
    public let methodList: String
    public let headerList: String

    public static let standard = CORSRules(.standard)

    public init(_ policy: CORSPolicy) {
        self.policy = policy
        let patterns = policy.allowOrigins.compactMap(OriginPattern.init)
        origins = Set(patterns.filter { $0.suffix == nil }.map(\.text))
        suffixes = patterns.compactMap(\.suffix)
        headers = Set(policy.allowHeaders.map { $0.lowercased() })
        methodList = policy.allowMethods.joined(separator: ", ")
        // The wildcard does not cover this one (Fetch §4.9).
        headerList = (policy.allowHeaders + (policy.allowsAnyHeader && !headers.contains("authorization") ? ["Authorization"] : []))
            .joined(separator: ", ")
    }

    public var maxAge: Int { policy.maxAge }
    public var allowCredentials: Bool { policy.allowCredentials }

    public static func == (left: CORSRules, right: CORSRules) -> Bool { left.policy == right.policy }

    /// What `Access-Control-Allow-Origin` says to a page of this origin; nil = it is not allowed.
    public func allowedOrigin(for origin: String) -> String? {
        if policy.allowsAnyOrigin { return "*" }
        return origins.contains(origin) || isBelowAllowedDomain(origin) ? origin : nil
    }

    public func allows(method: String) -> Bool { policy.allowMethods.contains(method) }

    /// - Parameter names: as `Access-Control-Request-Headers` lists them.
    public func allows(headers names: String) -> Bool {
        if policy.allowsAnyHeader { return true }
        return names.split(separator: ",").allSatisfy { name in
            let name = name.drop { $0 == " " }.lowercased()
            return headers.contains(String(name.prefix { $0 != " " }))
        }
    }

    /// The wildcard stands for exactly one label.
    private func isBelowAllowedDomain(_ origin: String) -> Bool {
        guard !suffixes.isEmpty, origin.hasPrefix("https://") else { return false }
        let host = origin.dropFirst("https://".count)
        guard let dot = host.firstIndex(of: ".") else { return false }
        return OriginPattern.isLabel(host[..<dot].utf8) && suffixes.contains(String(host[dot...]))
    }
}
