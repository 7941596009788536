import Foundation
import JSON
import Jobs
import OpenAI

/// An event as receivers see it, around its `data`.
struct WebhookEnvelope: Sendable {
    var id: String
    var type: String
    /// Unix seconds.
    var createdAt: Int
    var project: ID<Project>

    init(id: String, type: String, createdAt: Int, project: ID<Project>) {
        (self.id, self.type, self.createdAt, self.project) = (id, type, createdAt, project)
    }

    /// One that stands in no outbox.
    init(type: String, project: ID<Project>) {
        self.init(id: OutboxEvent.newID(), type: type, createdAt: Int(Date().timeIntervalSince1970), project: project)
    }

    /// - Parameter data: one JSON object.
    func json(data: [UInt8]) -> [UInt8] {
        var json = JSONWriter(capacity: data.count + 192)
        json.raw(#"{"id":"#)
        json.string(id)
        json.raw(#","object":"event","type":"#)
        json.string(type)
        json.raw(#","created_at":"#)
        json.integer(createdAt)
        json.raw(#","project_id":"#)
        json.string(project.description)
        json.raw(#","data":"#)
        json.raw(data)
        json.raw("}" as StaticString)
        return json.bytes
    }
}
