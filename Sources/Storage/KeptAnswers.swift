import ObjectStore
import OpenAI
import Postgres
import Server
import Tenancy

/// Large answers of requests with an Idempotency-Key, each an object of its own that the sweeper deletes when keys are forgotten.
extension Objects: LargeAnswers {
    public func keep(_ answer: [UInt8], of request: String, for project: ID<Project>) throws {
        let writer = try write(ObjectPlace(project: project, kind: .answer, id: request), expected: answer.count)
        defer { writer.giveUp() }
        try answer.withUnsafeBytes { try writer.append($0) }
        let object = try writer.finish()
        try database.transaction(of: project) { try writer.commit(object, on: $0) }
        writer.committed()
    }

    public func answer(of request: String, for project: ID<Project>) throws -> [UInt8] {
        let place = ObjectPlace(project: project, kind: .answer, id: request)
        guard let object = try database.withConnection(of: project, { try $0.object(place) }) else { throw StoreError.noSuchKey }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(object.bytes)
        try read(object, 0..<object.bytes) { bytes.append(contentsOf: $0) }
        return bytes
    }
}

extension TenantConnection {
    /// nil = nothing is stored there.
    public func object(_ place: ObjectPlace) throws -> ObjectManifest? {
        try query("SELECT bytes, parts, sha256 FROM objects WHERE project_id = \(project) AND key = \(place.key) AND state = 'stored'")
            .first.map {
                ObjectManifest(place: place, bytes: try $0.get("bytes"), parts: try $0.get("parts"), sha256: try $0.get("sha256"))
            }
    }
}
