import Crypto
import OpenAI

/// What an object is, and so the second part of its key (08 §4).
public enum ObjectKind: String, Sendable, CaseIterable {
    case model, completion, response, conversation, batch, file, upload, artifact, chunk, export, execlog, invoice
    /// The answer of a request with an Idempotency-Key.
    case answer
}

/// Where an object is: `<project>/<kind>/<id>`.
public struct ObjectPlace: Sendable, Equatable {
    public var project: ID<Project>
    public var kind: ObjectKind
    public var id: String

    public init(project: ID<Project>, kind: ObjectKind, id: String) {
        self.project = project
        self.kind = kind
        self.id = id
    }

    public var key: String { "\(project)/\(kind.rawValue)/\(id)" }

    /// Where the store has a frame of it.
    static func part(_ number: Int, of key: String) -> String { "\(key)/\(number)" }
}

/// The manifest of a stored object.
public struct ObjectManifest: Sendable, Equatable {
    public var place: ObjectPlace
    /// Of plain text.
    public var bytes: Int
    /// Frames, each of which is one object of the store; all but the last one hold `Envelope.plainFrameLength` bytes.
    public var parts: Int
    /// Of the plain text.
    public var sha256: [UInt8]

    public init(place: ObjectPlace, bytes: Int, parts: Int, sha256: [UInt8]) {
        self.place = place
        self.bytes = bytes
        self.parts = parts
        self.sha256 = sha256
    }
}
