import JSON
import OpenAI
import Server

/// Reads the bodies of the key routes (08 §2.3). Each bad member is a 400 that names it.
package enum KeyBodies {
    package static func new(_ root: JSONElement) throws -> NewKey {
        guard let name = value(root["name"]) else { throw APIError.missing("name") }
        guard let scopes = value(root["scopes"]) else { throw APIError.missing("scopes") }
        var key = NewKey(name: try Self.name(name), scopes: try Self.scopes(scopes))
        key.endpoint = try value(root["endpoint"]).map { try Fields.string($0, "endpoint") }
        key.expiry = try expiry(root) ?? .never
        key.ipFilter = try value(root["ip_filter"]).map { try ipFilter($0, "ip_filter") }
        key.quota = try value(root["quota"]).map { try quota($0, "quota") }
        key.isService = try value(root["service"]).map { try Fields.bool($0, "service") } ?? false
        return key
    }

    /// Members that have routes of their own, or none, are refused: whoever sends them would think that they had changed something.
    package static func change(_ root: JSONElement) throws -> KeyChange {
        for member in root.members {
            let name = member.name.description
            if ["endpoint", "ip_filter", "quota", "service"].contains(name) {
                throw APIError(.unsupportedParameter, "'\(name)' cannot be changed here.", param: name)
            }
        }
        let change = KeyChange(
            name: try value(root["name"]).map(Self.name), scopes: try value(root["scopes"]).map(Self.scopes),
            expiry: try expiry(root) ?? (root["expires_at"] == nil ? nil : .never))
        guard change != KeyChange() else {
            throw APIError(.invalidRequest, "Give at least one of 'name', 'scopes', 'expires_at' and 'expires_in_days'.")
        }
        return change
    }

    /// Seconds.
    package static func grace(_ root: JSONElement) throws -> Int {
        try value(root["grace_seconds"]).map { try Fields.integer($0, "grace_seconds", in: 0...KeyRules.longestGrace) }
            ?? KeyRules.defaultGrace
    }

    /// - Parameter path: where the object stands in the body; empty = it is the body.
    package static func ipFilter(_ element: JSONElement, _ path: String) throws -> IPFilterRules {
        try Fields.object(element, path)
        let prefix = path.isEmpty ? "" : path + "."
        try Fields.refuseMembers(of: element, prefix, except: ["allow", "block"])
        func entries(_ element: JSONElement?, _ name: String) throws -> [String] {
            guard let element = value(element) else { return [] }
            try Fields.array(element, prefix + name)
            return try element.elements.enumerated().map { try Fields.string($1, "\(prefix)\(name)[\($0)]", atMost: 64) }
        }
        let rules = IPFilterRules(allow: try entries(element["allow"], "allow"), block: try entries(element["block"], "block"))
        try rules.check(prefix)
        return rules
    }

    package static func quota(_ element: JSONElement, _ path: String) throws -> KeyQuota {
        try Fields.object(element, path)
        let prefix = path.isEmpty ? "" : path + "."
        try Fields.refuseMembers(of: element, prefix, except: ["requests", "window_seconds", "tokens"])
        guard let requests = value(element["requests"]) else { throw APIError.missing(prefix + "requests") }
        guard let window = value(element["window_seconds"]) else { throw APIError.missing(prefix + "window_seconds") }
        return KeyQuota(
            requests: try Fields.integer(requests, prefix + "requests", in: KeyRules.quotaRequests),
            windowSeconds: try Fields.integer(window, prefix + "window_seconds", in: KeyRules.quotaWindow),
            tokens: try value(element["tokens"]).map { try Fields.integer($0, prefix + "tokens", in: KeyRules.quotaTokens) })
    }

    /// null is the same as absent (01 §6).
    private static func value(_ element: JSONElement?) -> JSONElement? { element.flatMap { $0.isNull ? nil : $0 } }

    private static func name(_ element: JSONElement) throws -> String {
        let name = try Fields.string(element, "name")
        try KeyRules.check(name: name)
        return name
    }

    private static func scopes(_ element: JSONElement) throws -> [Scope] {
        try Fields.array(element, "scopes")
        return try KeyRules.scopes(element.elements.enumerated().map { try Fields.string($1, "scopes[\($0)]") })
    }

    private static func expiry(_ root: JSONElement) throws -> KeyExpiry? {
        let at = try value(root["expires_at"]).map { try Fields.integer($0, "expires_at", in: 0...KeyRules.lastSecond) }
        let days = try value(root["expires_in_days"]).map { try Fields.integer($0, "expires_in_days", in: 1...KeyRules.longestDays) }
        if at != nil && days != nil {
            throw APIError(
                .unsupportedCombination, "'expires_at' and 'expires_in_days' exclude each other.", param: "expires_in_days")
        }
        return at.map(KeyExpiry.at) ?? days.map(KeyExpiry.inDays)
    }
}
