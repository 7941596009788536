import OpenAI

/// The file object; see platform.openai.com/docs/api-reference/files/object and 03 §3.
public struct File: Sendable, Equatable, Encodable, Identified, Identifiable {
    public static let idPrefix = "file-"

    public var id: ID<File>
    public var object = "file"
    public var bytes: Int
    public var createdAt: Int
    public var expiresAt: Int?
    public var filename: String
    public var purpose: String
    public var status: String
    public var statusDetails: String?
    public var relativePath: String?
    /// Lower-case hexadecimal.
    public var sha256: String

    private enum CodingKeys: String, CodingKey {
        case id, object, bytes, filename, purpose, status
        case createdAt = "created_at"
        case expiresAt = "expires_at"
        case statusDetails = "status_details"
        case relativePath = "x_relative_path"
        case sha256 = "x_sha256"
    }
}

/// A file as it is kept, with what only its content needs.
public struct FileContent: Sendable, Equatable {
    public var file: File
    public var contentType: String
    public var object: ObjectManifest
}

/// What a file shall be; its bytes are stored already.
public struct NewFile: Sendable, Equatable {
    public var filename: String
    public var purpose: String
    public var contentType: String
    public var relativePath: String?
    /// JSON text.
    public var attributes: [UInt8]?
    /// After which it is gone; nil = it stays.
    public var lifetime: Double?

    public init(
        filename: String, purpose: String, contentType: String, relativePath: String? = nil, attributes: [UInt8]? = nil,
        lifetime: Double? = nil
    ) {
        self.filename = filename
        self.purpose = purpose
        self.contentType = contentType
        self.relativePath = relativePath
        self.attributes = attributes
        self.lifetime = lifetime
    }
}
