import Crypto
import FastCGI
import Foundation
import OpenAI
import Server
import Tenancy

/// Reads the form of `POST files` and stores its file as it comes. Until `commit` nothing of it is visible.
final class FileUpload {
    let id = ID<File>.random()
    private let objects: Objects
    private let context: Context
    private let declaredLength: Int?
    private var fields: [String: [UInt8]] = [:]
    private var writer: ObjectWriter?
    private var filename = ""
    private var contentType: String?
    /// What makes two forms the same one: the names of parts and files and all fields, in order, and the file's own digest.
    private let fingerprint = SHA256.Stream()

    private static let longestField = 64 << 10
    private static let known: Set = [
        "purpose", "relative_path", "expires_after[anchor]", "expires_after[seconds]", "attributes",
    ]

    init(_ objects: Objects, _ request: Request, _ context: Context) {
        self.objects = objects
        self.context = context
        declaredLength = request.declaredLength
    }

    /// What has come and is stored, and what it shall be.
    struct Form {
        var file: NewFile
        var object: ObjectManifest
        var fingerprint: [UInt8]
    }

    /// - Throws: `APIError` for all that is wrong with the form; `ClientGone`; what stores throw.
    func read(contentType: String?) throws -> Form {
        let form = MultipartReader(boundary: try MultipartReader.boundary(of: contentType), fill: try body())
        var part: FormPart?
        var field: [UInt8] = []
        while true {
            switch try form.next() {
            case .part(let begun):
                try begin(begun)
                (part, field) = (begun, [])
            case .bytes(let bytes):
                if part?.name == "file" {
                    try appendToFile(bytes)
                } else {
                    guard field.count + bytes.count <= Self.longestField, let name = part?.name else {
                        throw APIError.invalid(part?.name ?? "", "A field of the form has at most \(Self.longestField) bytes.")
                    }
                    fingerprint.add(bytes)
                    fields[name]?.append(contentsOf: bytes)
                    field.append(contentsOf: bytes)
                }
            case .endOfPart:
                // As soon as it is known: a wrong purpose in front of a large file need not wait for it.
                if part?.name == "purpose" { _ = try FileRules.purpose(text("purpose") ?? "") }
            case .end: return try finish()
            }
        }
    }

    /// Makes the object visible with the transaction.
    func commit(_ form: Form, on connection: TenantConnection) throws { try writer?.commit(form.object, on: connection) }
    func committed() { writer?.committed() }
    /// Gives up what is not committed.
    func close() { writer?.giveUp() }

    private func body() throws -> (UnsafeMutableRawBufferPointer) throws -> Int {
        guard let body = context.body else { throw APIError(.internalError, "The body was read already.") }
        let declared = declaredLength
        var total = 0
        return { buffer in
            let count = body.read(into: buffer)
            total += count
            guard total <= FileRules.largestBody else { throw Self.tooLarge }
            // nginx sends what was announced; fewer bytes mean that the client or nginx broke off.
            if count < buffer.count, let declared, total < declared { throw ClientGone() }
            return count
        }
    }

    private static let tooLarge = APIError(
        .fileTooLarge, "The file is larger than the limit of \(FileRules.largest) bytes.", param: "file")

    private func begin(_ part: FormPart) throws {
        fingerprint.add(Array("\(part.name)\0\(part.filename ?? "")\0".utf8))
        if part.name == "file" {
            guard writer == nil else { throw APIError.invalid("file", "The form has two parts 'file'.") }
            guard let given = part.filename else { throw APIError.invalid("file", "The part 'file' needs a filename.") }
            filename = try FileRules.filename(given)
            contentType = part.contentType
            let place = ObjectPlace(project: try context.principal.projectID, kind: .file, id: id.description)
            writer = try objects.write(place, expected: declaredLength.map { min($0, FileRules.largest) })
            return
        }
        guard Self.known.contains(part.name) else {
            let shown = String(part.name.prefix(64))
            throw APIError(.unsupportedParameter, "There is no field '\(shown)' here.", param: shown)
        }
        guard fields.updateValue([], forKey: part.name) == nil else {
            throw APIError.invalid(part.name, "The form has two parts '\(part.name)'.")
        }
    }

    private func appendToFile(_ bytes: UnsafeRawBufferPointer) throws {
        guard let writer, writer.bytes + bytes.count <= FileRules.largest else { throw Self.tooLarge }
        try writer.append(bytes)
    }

    private func text(_ name: String) throws -> String? {
        guard let bytes = fields[name] else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw APIError.invalid(name, "'\(name)' is not valid UTF-8.") }
        return text
    }

    private func finish() throws -> Form {
        guard let writer else { throw APIError.missing("file") }
        guard let purpose = try text("purpose") else { throw APIError.missing("purpose") }
        let lifetime = try FileRules.lifetime(anchor: text("expires_after[anchor]"), seconds: text("expires_after[seconds]"))
        let file = NewFile(
            filename: filename, purpose: try FileRules.purpose(purpose), contentType: FileRules.contentType(contentType),
            relativePath: try text("relative_path").map(FileRules.relativePath),
            attributes: try fields["attributes"].map { try FileRules.attributes($0, context.services.parser) },
            lifetime: lifetime.map { Double($0) * context.services.timeScale })
        guard writer.bytes > 0 else { throw APIError(.emptyFile, "The file is empty.", param: "file") }
        let object = try writer.finish()
        fingerprint.add(object.sha256)
        return Form(file: file, object: object, fingerprint: fingerprint.finish().bytes)
    }
}
