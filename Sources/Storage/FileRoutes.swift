import FastCGI
import Foundation
import OpenAI
import Server
import Tenancy

/// `files` (03 §3).
public struct FileRoutes: Sendable {
    private let objects: Objects
    private let database: TenantDatabase

    public init(objects: Objects) {
        self.objects = objects
        database = objects.database
    }

    public var all: [Route] {
        [
            Route(.post, "files", .all, .inference, meter: .none, bodyLimit: FileRules.largestBody, streamsBody: true, create),
            Route(.get, "files", .all, .inference, meter: .none, list),
            Route(.get, "files/:id", .all, .inference, meter: .none, retrieve),
            Route(.delete, "files/:id", .all, .inference, meter: .none, delete),
            Route(.get, "files/:id/content", .all, .inference, meter: .none, content),
        ]
    }

    private func create(_ request: Request, _ context: Context) throws -> Response {
        let upload = FileUpload(objects, request, context)
        defer { upload.close() }
        let form = try upload.read(contentType: request.contentType)
        // The key is taken only now, because the fingerprint is that of the whole form. An answer that is given again stores nothing.
        var whole = request
        whole.body = form.fingerprint
        let response = try context.write(whole, to: database) { connection in
            let file = try connection.createFile(upload.id, form.file, form.object, timeScale: context.services.timeScale)
            try upload.commit(form, on: connection)
            return try .json(encoding: file)
        }
        if response.requestID == nil { upload.committed() }
        return response
    }

    private func list(_ request: Request, _ context: Context) throws -> Response {
        try request.query.allow(["purpose", "prefix", "limit", "after", "before", "order"])
        let list = try ListQuery(request.query, most: 10_000)
        let filter = FileFilter(purpose: request.query["purpose"], prefix: request.query["prefix"])
        return try .list(database.withConnection(of: context.principal.projectID) { try $0.files(list, filter) })
    }

    private func retrieve(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        return try .json(encoding: database.withConnection(of: context.principal.projectID) { try $0.file(id) })
    }

    private func delete(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let response = try context.write(request, to: database) { connection in
            try connection.deleteFile(id)
            return try .json(encoding: DeletedFile(id: id))
        }
        objects.hot?.forget(ObjectPlace(project: try context.principal.projectID, kind: .file, id: id.description))
        return response
    }

    private func content(_ request: Request, _ context: Context) throws -> Response {
        let id = try Self.id(request)
        let found = try database.withConnection(of: context.principal.projectID) { try $0.fileContent(id) }
        let tag = "\"\(found.file.sha256)\""
        var headers = [
            (name: "Content-Type", value: found.contentType), ("Content-Disposition", Self.disposition(found.file.filename)), ("ETag", tag),
            ("Accept-Ranges", "bytes"), ("Cache-Control", "private, no-store"),
            // What customers uploaded runs nowhere, whatever a browser takes it for.
            ("Content-Security-Policy", "sandbox"),
        ]
        // A part of another version would not fit to what the client has.
        let isWanted = request.header("HTTP_IF_RANGE").map { $0 == tag } ?? true
        let range = isWanted ? try ByteRange.parse(request.header("HTTP_RANGE"), of: found.object.bytes) : nil
        if let range {
            headers.append(("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(found.object.bytes)"))
        }
        let wanted = range ?? 0..<found.object.bytes
        headers.append(("Content-Length", String(wanted.count)))
        return Response(
            status: range == nil ? 200 : 206, headers: headers,
            body: .stream { [objects] stream in try objects.read(found.object, wanted) { try stream.send($0) } })
    }

    /// RFC 6266: the name once for everybody, and once for those who read UTF-8.
    static func disposition(_ filename: String) -> String {
        let plain = filename.unicodeScalars.map { (0x20...0x7E).contains($0.value) && $0 != "\"" && $0 != "\\" ? String($0) : "_" }.joined()
        let extended = filename.utf8.map { byte in
            let scalar = UnicodeScalar(byte)
            let isPlain = byte < 0x80 && (CharacterSet.alphanumerics.contains(scalar) || "!#$&+-.^_`|~".unicodeScalars.contains(scalar))
            return isPlain ? String(scalar) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }.joined()
        return "attachment; filename=\"\(plain)\"; filename*=UTF-8''\(extended)"
    }

    private static func id(_ request: Request) throws -> ID<File> {
        let text = request.pathParameters["id"] ?? ""
        guard let id = ID<File>(text) else { throw StorageError.noSuchFile(text) }
        return id
    }
}

/// The answer to a deletion.
private struct DeletedFile: Encodable {
    var id: ID<File>
    var object = "file"
    var deleted = true
}
