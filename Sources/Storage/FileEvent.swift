import Jobs
import OpenAI
import Postgres

/// The `data` of `file.uploaded` and `file.deleted` (08 §11). A path that is absent is null.
struct FileEvent: Encodable {
    var fileID: String
    var filename: String
    var purpose: String
    var bytes: Int
    var relativePath: String?

    init(_ file: File) {
        fileID = file.id.description
        filename = file.filename
        purpose = file.purpose
        bytes = file.bytes
        relativePath = file.relativePath
    }

    /// - Parameter row: with `formerColumns`.
    init(_ row: Row) throws {
        fileID = try row.get("id")
        filename = try row.get("filename")
        purpose = try row.get("purpose")
        bytes = try row.get("bytes")
        relativePath = try row.optional("relative_path")
    }

    /// What a statement that empties a file's row returns of what stood in it.
    static let formerColumns = "files.id, old.filename, files.purpose, files.bytes, old.relative_path"

    func event(_ type: EventType) throws -> Event { try Event(type, self) }

    private enum CodingKeys: String, CodingKey {
        case filename, purpose, bytes
        case fileID = "file_id"
        case relativePath = "relative_path"
    }

    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(fileID, forKey: .fileID)
        try values.encode(filename, forKey: .filename)
        try values.encode(purpose, forKey: .purpose)
        try values.encode(bytes, forKey: .bytes)
        try values.encode(relativePath, forKey: .relativePath)
    }
}
