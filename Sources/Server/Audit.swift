import Foundation
import OpenAI
import Postgres
import Tenancy

/// Who changes something, as the audit log names them (08 §2.4).
public struct AuditActor: Sendable, Equatable {
    public enum Kind: String, Sendable { case user, key, system }

    public var kind: Kind
    /// `user_…`, `key_…`, or the name of one of our programs.
    public var id: String
    /// The user whose permissions count: themselves, or who made the key. nil = the operator, who may do all.
    public var userID: String?
    /// The client's address.
    public var address: String?
    public var userAgent: String?
    public var requestID: String?

    public init(
        _ kind: Kind, _ id: String, userID: String? = nil, address: String? = nil, userAgent: String? = nil, requestID: String? = nil
    ) {
        self.kind = kind
        self.id = id
        self.userID = userID
        self.address = address
        self.userAgent = userAgent
        self.requestID = requestID
    }

    /// One of our own programs.
    public static func system(_ name: String) -> AuditActor { AuditActor(.system, name) }
}

/// One line of the audit log: what was done to what. Secrets and customers' texts never go in.
public struct AuditEntry: Sendable {
    /// `area.verb`, such as `key.create`.
    public var action: String
    /// What kind of thing was changed, such as `api_key`, and its identifier or name.
    public var target: (type: String, id: String)
    /// The thing as JSON before and after; nil = it was not there.
    public var before: String?
    public var after: String?

    public init(action: String, target: (type: String, id: String), beforeJSON: String? = nil, afterJSON: String? = nil) {
        self.action = action
        self.target = target
        before = beforeJSON
        after = afterJSON
    }

    public init(
        action: String, target: (type: String, id: String), before: (any Encodable & Sendable)? = nil,
        after: (any Encodable & Sendable)? = nil
    ) throws {
        self.init(action: action, target: target, beforeJSON: try before.map(Self.json), afterJSON: try after.map(Self.json))
    }

    private static func json(_ value: any Encodable) throws -> String { String(decoding: try JSONEncoder().encode(value), as: UTF8.self) }
}

/// One entry of the audit log.
public enum AuditRecord: Identified { public static let idPrefix = "aud_" }

extension TenantConnection {
    /// Appends to the chain of the project. It belongs into the transaction of the change and comes last in it: the end of the chain stays
    /// locked until the transaction ends, so that chains never fork.
    public func audit(_ entry: AuditEntry, by actor: AuditActor) throws { try query(entry.statement(of: project, by: actor)) }
}

extension SystemConnection {
    /// Appends to the chain of a project, or to that of the platform. Like that of `TenantConnection`.
    public func audit(_ entry: AuditEntry, of project: ID<Project>? = nil, by actor: AuditActor) throws {
        try query(entry.statement(of: project, by: actor))
    }
}

extension AuditEntry {
    private static let longestUserAgent = 256

    /// The trigger `audit_chain` gives the row its place, time and hashes.
    fileprivate func statement(of project: ID<Project>?, by actor: AuditActor) -> SQL {
        let userAgent = actor.userAgent.map { String(String.UnicodeScalarView($0.unicodeScalars.prefix(Self.longestUserAgent))) }
        return """
            INSERT INTO audit_log (id, project_id, actor_type, actor_id, action, target_type, target_id, ip, user_agent, request_id, before, after)
            VALUES (\(ID<AuditRecord>.random()), \(project), \(actor.kind.rawValue), \(actor.id), \(action), \(target.type), \(target.id),
                \(actor.address), \(userAgent), \(actor.requestID), \(before)::jsonb, \(after)::jsonb)
            """
    }
}
