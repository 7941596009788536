public enum SealingError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The master key is not 32 bytes of base64.
    case badMasterKey
    /// The data key is wrapped under a master key that this process was not given.
    case unknownMasterKey
    /// There is no such data key of this project, or it was destroyed: what was sealed with it is gone.
    case noKey
    /// The envelope is damaged, or was sealed for another place or with another key. One error for all: the cause is a secret.
    case cannotOpen
    /// OpenSSL failed without a fault of the data.
    case internalFault

    public var description: String {
        switch self {
        case .badMasterKey: "The master key is not 32 bytes in base64."
        case .unknownMasterKey: "A data key is wrapped under a master key that is neither the current nor the previous one."
        case .noKey: "The data key does not exist, or was destroyed."
        case .cannotOpen: "What is stored cannot be opened: it is damaged, or was sealed for another place or with another key."
        case .internalFault: "OpenSSL failed."
        }
    }
}

/// Gives the data keys of projects.
public protocol DataKeySource: Sendable {
    /// The key under which new envelopes of the project are sealed; made when there is none.
    func current(of project: String) throws -> DataKey
    /// - Throws: `SealingError.noKey` where the project has no such key, or it was destroyed.
    func key(_ id: String, of project: String) throws -> DataKey
}

/// Seals what is stored for a project, so that a dump of the database or the bucket shows nothing: the only way to private bytes.
///
/// An envelope opens only for the project, kind and object it was sealed for; moved to another row it is refused.
public struct Sealing: Sendable {
    private let keys: any DataKeySource

    public init(keys: any DataKeySource) { self.keys = keys }

    /// - Parameters:
    ///   - kind: what the bytes are, such as `upstream-key`.
    ///   - object: the id of the row, or the key of the object, that holds the envelope.
    public func seal(project: String, kind: String, object: String, _ plain: [UInt8]) throws -> [UInt8] {
        try sealer(of: project).seal(kind: kind, object: object, plain)
    }

    /// - Throws: `SealingError`; never gives bytes that are not exactly those that were sealed.
    public func open(project: String, kind: String, object: String, _ envelope: [UInt8]) throws -> [UInt8] {
        try opener(of: envelope, project: project, kind: kind, object: object).open(envelope)
    }

    /// Holds the project's current key, so that sealing inside a transaction asks nobody.
    public func sealer(of project: String) throws -> ProjectSealer {
        ProjectSealer(project: project, key: try keys.current(of: project))
    }

    /// Opens an envelope frame by frame.
    /// - Parameter head: the envelope, or its first `Envelope.headerLength` bytes.
    public func opener(of head: [UInt8], project: String, kind: String, object: String) throws -> Envelope {
        Envelope(key: try keys.key(Envelope.keyID(of: head), of: project), project: project, kind: kind, object: object)
    }
}

/// Seals for one project under one data key.
public struct ProjectSealer: Sendable {
    let project: String
    let key: DataKey

    public func seal(kind: String, object: String, _ plain: [UInt8]) throws -> [UInt8] {
        try envelope(kind: kind, object: object).seal(plain)
    }

    /// For bodies that are written frame by frame.
    public func envelope(kind: String, object: String) -> Envelope {
        Envelope(key: key, project: project, kind: kind, object: object)
    }
}
