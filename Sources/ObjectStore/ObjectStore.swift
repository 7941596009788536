import Foundation

/// An S3-compatible store of bytes by key. A key has 1 to 512 characters of `A-Z a-z 0-9 / _ - .`; what is under it is written whole and never
/// changed, so that each operation may be repeated.
///
/// Calls block their thread. Large bytes are not put here as they are: `Storage` makes objects of a few MiB out of them.
public protocol ObjectStore: Sendable {
    /// When it returns, the store has all bytes.
    /// - Throws: `StoreError`
    func put(_ key: String, _ bytes: [UInt8]) throws

    /// Gives the bytes as they come. An object that breaks off is an error, never a shorter object.
    /// - Parameter range: of the object's bytes; what lies behind its end is left out. nil = all.
    /// - Throws: `StoreError`, and what `receive` throws.
    func get(_ key: String, range: Range<Int>?, _ receive: (UnsafeRawBufferPointer) throws -> Void) throws

    /// nil = there is no such object.
    /// - Throws: `StoreError`
    func size(of key: String) throws -> Int?

    /// To delete what is not there is no error.
    /// - Throws: `StoreError`
    func delete(_ key: String) throws

    /// Objects whose key has the prefix and stands after the given one, in the keys' order.
    /// - Parameter limit: 1 to 1,000.
    /// - Throws: `StoreError`
    func list(prefix: String, after: String?, limit: Int) throws -> StoredObjects

    /// A URL with which anybody can get the object until the time is over.
    func presignedGet(_ key: String, seconds: Int) throws -> String
}

/// A page of a bucket's listing.
public struct StoredObjects: Sendable, Equatable {
    public var objects: [StoredObject]
    /// Whether there are more behind the last one.
    public var hasMore: Bool

    public init(objects: [StoredObject], hasMore: Bool) {
        self.objects = objects
        self.hasMore = hasMore
    }
}

public struct StoredObject: Sendable, Equatable {
    public var key: String
    public var bytes: Int
    /// Unix seconds.
    public var modifiedAt: Int

    public init(key: String, bytes: Int, modifiedAt: Int) {
        self.key = key
        self.bytes = bytes
        self.modifiedAt = modifiedAt
    }
}

/// Why the store did not do what it was asked.
public enum StoreError: Error, Sendable, Equatable {
    /// It is away, too slow, or says that it is overloaded: the same call may succeed later. The text is for logs.
    case unavailable(String)
    case noSuchKey
    /// It does not let us: a wrong key, a wrong clock, no such bucket. Only the operator can mend that. The store's own code, for logs.
    case refused(String)
    /// The key is not one of ours; nothing was sent.
    case badKey

    var isTransient: Bool { if case .unavailable = self { true } else { false } }
}

extension ObjectStore {
    /// The whole object, or the range of it.
    public func get(_ key: String, range: Range<Int>? = nil) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try get(key, range: range) { bytes.append(contentsOf: $0) }
        return bytes
    }
}

/// Where a store is, and how it is spoken to.
public struct StoreSettings: Sendable {
    /// Such as `https://s3.example.com`, without a path.
    public var url: String
    public var bucket: String
    public var accessKey: String
    /// Never logged.
    public var secretKey: String
    /// Of Signature V4.
    public var region: String
    /// Of one attempt, from connecting to the last byte.
    public var timeout = Duration.seconds(30)
    /// Attempts of a call that fails for a passing reason.
    public var attempts = 3
    /// Before the second attempt; each further pause is four times as long.
    public var pause = Duration.milliseconds(100)

    public init(url: String, bucket: String, accessKey: String, secretKey: String, region: String = "us-east-1") {
        self.region = region
        self.url = url
        self.bucket = bucket
        self.accessKey = accessKey
        self.secretKey = secretKey
    }
}

/// How requests are signed, which decides who speaks to the store.
public enum StoreSignature: String, Sendable {
    /// By libs3, for stores that still take it.
    case v2
    case v4

    /// - Parameter settings: without a URL there is no store.
    public func store(_ settings: StoreSettings) throws -> any ObjectStore {
        if settings.url.isEmpty { return AbsentStore() }
        let driver: any ObjectStore =
            switch self {
            case .v2: try V2Store(settings)
            case .v4: V4Store(settings)
            }
        return PatientStore(driver, attempts: settings.attempts, pause: settings.pause)
    }
}

extension StoreSignature {
    /// A store whose clock is wrong by so many seconds, for tests.
    package static func v4Store(_ settings: StoreSettings, clockSkew: Double) -> any ObjectStore {
        V4Store(settings, now: { Date().addingTimeInterval(clockSkew) })
    }
}
