import JSON
import OpenAI
import Server

/// What shall be changed of an agent; nil = as it is.
public struct AgentChange: Sendable, Equatable {
    public var name: String?
    /// `.some(nil)` takes it away.
    public var description: String??
    /// 0 = as many as its engine has places.
    public var maxConcurrent: Int?
    /// `.some(nil)` = the usual ones.
    public var supportedTiers: [String]??
    public var storageLimitEnabled: Bool?
    public var storageLimitBytes: Int??
    public var region: String?

    public init() {}
}

/// Reads the bodies of `management/agents` (05 §21). A member that is not known is a 400 that names it: a misspelt limit would be none.
package enum AgentBodies {
    /// Seconds that what runs may go on when an agent drains.
    package static let usualDrain = 30
    private static let drains = 0...3_600
    private static let storage = 0...(1 << 50)
    private static let members: Set<String> = [
        "name", "description", "max_concurrent_requests", "supported_tiers", "storage_limit_enabled", "storage_limit_bytes", "region",
    ]

    package static func change(_ root: JSONElement) throws -> AgentChange {
        try Fields.refuseMembers(of: root, "", except: members)
        var change = AgentChange()
        change.name = try root["name"].map(name)
        change.description = try root["description"].map { $0.isNull ? nil : try printable($0, "description", atMost: 512) }
        change.maxConcurrent = try root["max_concurrent_requests"].map {
            try Fields.integer($0, "max_concurrent_requests", in: NewJoinKey.concurrency)
        }
        change.supportedTiers = try root["supported_tiers"].map { $0.isNull ? nil : try JoinKeyBodies.tiers($0) }
        change.storageLimitEnabled = try root["storage_limit_enabled"].map { try Fields.bool($0, "storage_limit_enabled") }
        change.storageLimitBytes = try root["storage_limit_bytes"].map {
            $0.isNull ? nil : try Fields.integer($0, "storage_limit_bytes", in: storage)
        }
        change.region = try root["region"].map(JoinKeyBodies.region)
        guard change != AgentChange() else {
            throw APIError(.missingRequiredParameter, "There is nothing to change: \(members.sorted().joined(separator: ", ")).")
        }
        return change
    }

    /// `{deadline_s?}`: how long what runs may go on.
    package static func drain(_ root: JSONElement) throws -> Int {
        try Fields.refuseMembers(of: root, "", except: ["deadline_s"])
        return try value(root["deadline_s"]).map { try Fields.integer($0, "deadline_s", in: drains) } ?? usualDrain
    }

    /// `{reason?}`.
    package static func reason(_ root: JSONElement) throws -> String? {
        try Fields.refuseMembers(of: root, "", except: ["reason"])
        return try value(root["reason"]).map { try printable($0, "reason", atMost: 256) }
    }

    private static func name(_ element: JSONElement) throws -> String {
        let name = try Fields.string(element, "name", atMost: 48)
        guard name.wholeMatch(of: /[a-z0-9][a-z0-9-]{0,47}/) != nil else {
            throw APIError.invalid("name", "A name has 1 to 48 of a-z, 0-9 and -, and does not start with -.")
        }
        return name
    }

    /// null is the same as absent (01 §6).
    private static func value(_ element: JSONElement?) -> JSONElement? { element.flatMap { $0.isNull ? nil : $0 } }

    private static func printable(_ element: JSONElement, _ name: String, atMost limit: Int) throws -> String {
        let text = try Fields.string(element, name, atMost: limit)
        guard !text.isEmpty, text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
            throw APIError.invalid(name, "'\(name)' has 1 to \(limit) characters and no control characters.")
        }
        return text
    }
}
