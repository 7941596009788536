import Addresses
import OpenAI
import Postgres
import Server
import Tenancy

/// A key as it is shown (08 §2.3): everything but its value, which is in the answers that make one and nowhere else.
public struct KeyObject: Sendable, Encodable, Equatable, Identifiable {
    public var id: ID<APIKey>
    public var name: String
    /// The first characters, to recognise the key by.
    public var prefix: String
    public var scopes: [Scope]
    /// The slug of the only endpoint it may use.
    public var endpoint: String?
    public var active: Bool
    public var ipFilter: IPFilterRules?
    public var quota: KeyQuota?
    /// Whether it outlives its creator's membership.
    public var isService: Bool
    /// The user it acts for; nil = the operator's own.
    public var createdBy: String?
    public var createdAt: Int
    public var lastUsedAt: Int?
    public var expiresAt: Int?
    /// Until when the value before the last rotation is good.
    public var graceExpiresAt: Int?
    /// The whole key, where it was made just now.
    public var key: String?

    private enum CodingKeys: String, CodingKey {
        case id, object, name, prefix, scopes, endpoint, active, quota, service, key
        case ipFilter = "ip_filter"
        case createdBy = "created_by"
        case createdAt = "created_at"
        case lastUsedAt = "last_used_at"
        case expiresAt = "expires_at"
        case graceExpiresAt = "grace_expires_at"
    }

    /// Absent values are null; only `key` is left out.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode("api_key", forKey: .object)
        try container.encode(name, forKey: .name)
        try container.encode(prefix, forKey: .prefix)
        try container.encode(scopes, forKey: .scopes)
        try container.encode(endpoint, forKey: .endpoint)
        try container.encode(active, forKey: .active)
        try container.encode(ipFilter, forKey: .ipFilter)
        try container.encode(quota, forKey: .quota)
        try container.encode(isService, forKey: .service)
        try container.encode(createdBy, forKey: .createdBy)
        try container.encode(createdAt, forKey: .createdAt)
        try container.encode(lastUsedAt, forKey: .lastUsedAt)
        try container.encode(expiresAt, forKey: .expiresAt)
        try container.encode(graceExpiresAt, forKey: .graceExpiresAt)
        try container.encodeIfPresent(key, forKey: .key)
    }
}

/// The lists of an IP filter as they were given, in CIDR notation.
public struct IPFilterRules: Sendable, Codable, Equatable {
    public var allow: [String]
    public var block: [String]

    public static let mostEntries = 100

    public init(allow: [String] = [], block: [String] = []) {
        self.allow = allow
        self.block = block
    }

    /// - Parameter prefix: what stands before the names of the lists in the body.
    /// - Throws: `APIError` 400 that names the entry.
    func check(_ prefix: String = "ip_filter.") throws {
        guard allow.count + block.count <= Self.mostEntries else {
            let name = prefix + (allow.count > block.count ? "allow" : "block")
            throw APIError.invalid(name, "An IP filter has at most \(Self.mostEntries) entries.")
        }
        for (name, entries) in [("allow", allow), ("block", block)] {
            for (index, entry) in entries.enumerated() where IPRange(entry) == nil {
                throw APIError.invalid(
                    "\(prefix)\(name)[\(index)]",
                    "An entry is an address range such as 10.0.0.0/8 or 2001:db8::/32, without bits beyond its prefix.")
            }
        }
    }

    /// What authentication works with. Entries that are none, which the checks kept out, would let nobody in.
    var filter: IPFilter? {
        let ranges = (allow: allow.compactMap { IPRange($0) }, block: block.compactMap { IPRange($0) })
        if ranges.allow.count != allow.count || ranges.block.count != block.count { return IPFilter(block: Self.everything) }
        return allow.isEmpty && block.isEmpty ? nil : IPFilter(allow: ranges.allow, block: ranges.block)
    }

    private static let everything = ["0.0.0.0/0", "::/0"].compactMap { IPRange($0) }
}

extension KeyObject {
    static let columns = """
        id, name, prefix, scopes, endpoint, is_active, ip_filter, quota, is_service, created_by,
        extract(epoch FROM created_at)::bigint AS created_at,
        extract(epoch FROM last_used_at)::bigint AS last_used_at, extract(epoch FROM expires_at)::bigint AS expires_at,
        extract(epoch FROM grace_expires_at)::bigint AS grace_expires_at
        """
}

extension Row {
    func keyObject() throws -> KeyObject {
        KeyObject(
            id: try get("id"), name: try get("name"), prefix: try get("prefix"),
            scopes: try texts("scopes").compactMap(Scope.init(rawValue:)), endpoint: try optional("endpoint"), active: try get("is_active"),
            ipFilter: try json("ip_filter"), quota: try json("quota"), isService: try get("is_service"),
            createdBy: try optional("created_by"), createdAt: try get("created_at"), lastUsedAt: try optional("last_used_at"),
            expiresAt: try optional("expires_at"), graceExpiresAt: try optional("grace_expires_at"))
    }
}
