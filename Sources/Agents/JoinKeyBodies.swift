import JSON
import OpenAI
import Server

/// Reads the body of `POST management/join-keys` (05 §21). Each bad member is a 400 that names it; one that is not known too, since a misspelt expiry would
/// leave a key open for longer than was meant.
package enum JoinKeyBodies {
    private static let members: Set<String> = [
        "name", "role", "region", "expires_in_hours", "expires_in_seconds", "supported_tiers", "router_addr", "max_concurrent_requests",
    ]

    package static func new(_ root: JSONElement) throws -> NewJoinKey {
        try Fields.refuseMembers(of: root, "", except: members)
        var key = NewJoinKey()
        key.name = try value(root["name"]).map(name)
        if let role = value(root["role"]) {
            key.role = AgentRole(rawValue: try Fields.choice(role, "role", of: AgentRole.allCases.map(\.rawValue))) ?? .inference
        }
        key.region = try value(root["region"]).map(region)
        key.supportedTiers = try value(root["supported_tiers"]).map(tiers)
        key.routerAddress = try value(root["router_addr"]).map(address)
        key.maxConcurrent =
            try value(root["max_concurrent_requests"]).map { try Fields.integer($0, "max_concurrent_requests", in: NewJoinKey.concurrency) }
            ?? 0
        let hours = try value(root["expires_in_hours"]).map { try Fields.integer($0, "expires_in_hours", in: NewJoinKey.expiryHours) }
        let seconds = try value(root["expires_in_seconds"]).map {
            try Fields.integer($0, "expires_in_seconds", in: NewJoinKey.expirySeconds)
        }
        if hours != nil && seconds != nil {
            throw APIError(
                .unsupportedCombination, "'expires_in_hours' and 'expires_in_seconds' exclude each other.", param: "expires_in_seconds")
        }
        key.lifetime = seconds ?? hours.map { $0 * 3_600 } ?? key.lifetime
        return key
    }

    /// null is the same as absent (01 §6).
    private static func value(_ element: JSONElement?) -> JSONElement? { element.flatMap { $0.isNull ? nil : $0 } }

    private static func name(_ element: JSONElement) throws -> String {
        let name = try Fields.string(element, "name", atMost: 64)
        guard !name.allSatisfy(\.isWhitespace), name.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
            throw APIError.invalid("name", "A name has 1 to 64 characters, no control characters, and is not blank.")
        }
        return name
    }

    /// It becomes a part of worker ids, before their colon.
    static func region(_ element: JSONElement) throws -> String {
        let region = try Fields.string(element, "region")
        guard NewJoinKey.regionLength.contains(region.utf8.count), region.utf8.allSatisfy({ 0x21...0x7E ~= $0 && $0 != UInt8(ascii: ":") })
        else {
            throw APIError.invalid("region", "A region has 1 to 24 ASCII characters without spaces and colons, such as us-east-1.")
        }
        return region
    }

    /// Whether the tiers exist is for the database to say.
    static func tiers(_ element: JSONElement) throws -> [String] {
        try Fields.array(element, "supported_tiers")
        let tiers = try element.elements.enumerated().map { try Fields.string($1, "supported_tiers[\($0)]", atMost: 64) }
        guard (1...16).contains(tiers.count), Set(tiers).count == tiers.count else {
            throw APIError.invalid("supported_tiers", "'supported_tiers' has 1 to 16 different tiers, or is null.")
        }
        return tiers
    }

    private static func address(_ element: JSONElement) throws -> String {
        let address = try Fields.string(element, "router_addr", atMost: 255)
        let rest = address.hasPrefix("tcp://") ? address.dropFirst(6) : ""
        let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
        guard let port = parts.last.flatMap({ UInt16($0) }), port > 0, parts.count >= 2, !parts[0].isEmpty,
            rest.utf8.allSatisfy({ 0x21...0x7E ~= $0 && $0 != UInt8(ascii: "/") })
        else { throw APIError.invalid("router_addr", "'router_addr' has the form tcp://host:port.") }
        return address
    }
}
