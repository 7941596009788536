import Crypto
import Foundation
import OpenAI
import Postgres
import Tenancy

/// Something that happened and that others may want to know of (08 §11), such as `file.uploaded`.
public struct Event: Sendable {
    public var type: EventType
    /// Its `data`, one JSON object.
    public var data: [UInt8]

    public init(_ type: EventType, _ data: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        self.init(type, json: Array(try encoder.encode(data)))
    }

    public init(_ type: EventType, json: [UInt8]) {
        self.type = type
        data = json
    }
}

/// `evt_` and 24 hexadecimal digits.
public enum OutboxEvent: Identified {
    public static let idPrefix = "evt_"

    public static func newID() -> String { idPrefix + Hexadecimal.text(Random.bytes(12)) }
}

extension TenantConnection {
    /// Writes an event of the project into the outbox, in the caller's transaction, and with it a delivery for each webhook that subscribes to it.
    /// - Returns: its identifier.
    @discardableResult
    public func emit(_ event: Event) throws -> String {
        let id = OutboxEvent.newID()
        try query(
            "INSERT INTO outbox (id, project_id, kind, payload) VALUES (\(id), \(project), \(event.type.rawValue), \(json: event.data)::jsonb)"
        )
        afterCommit(JobBell.note(.webhooks, id))
        return id
    }
}

extension SystemConnection {
    /// Like that of `TenantConnection`.
    @discardableResult
    public func emit(_ event: Event, of project: ID<Project>) throws -> String {
        let id = OutboxEvent.newID()
        try query(
            "INSERT INTO outbox (id, project_id, kind, payload) VALUES (\(id), \(project), \(event.type.rawValue), \(json: event.data)::jsonb)"
        )
        afterCommit(JobBell.note(.webhooks, id))
        return id
    }
}

extension JobQueue {
    /// Deliveries of events to the servers of customers.
    public static let webhooks = JobQueue("webhooks")
}
