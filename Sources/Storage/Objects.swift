import Crypto
import Logging
import ObjectStore
import OpenAI
import Postgres
import Server
import Tenancy

/// Bytes of projects, sealed, in the object store. Large ones are cut into frames of 4 MiB, each sealed by itself and put as one object, so that
/// no more than one is in memory. The row in Postgres is the manifest: without it there is nothing.
public struct Objects: Sendable {
    let store: any ObjectStore
    let database: TenantDatabase
    let sealing: Sealing
    /// nil = none are made.
    let hot: HotCopies?
    let logger: Logger

    public init(store: any ObjectStore, database: TenantDatabase, sealing: Sealing, hot: HotCopies? = nil, logger: Logger) {
        self.store = store
        self.database = database
        self.sealing = sealing
        self.hot = hot
        self.logger = logger
    }

    /// Begins an object. The room for it is reserved before the first byte is stored.
    /// - Parameter expected: the most bytes that it will have; nil = not known, then room is reserved frame by frame.
    /// - Throws: `StorageError.quota`
    public func write(_ place: ObjectPlace, expected: Int?) throws -> ObjectWriter {
        let sealer = try sealing.sealer(of: place.project.description)
        let announced = expected == nil ? 0 : ObjectWriter.announcement(after: 0, expected: expected)
        try database.transaction(of: place.project) { try $0.beginObject(place, parts: announced, reserving: expected ?? 0) }
        return ObjectWriter(place, sealer, expected: expected, announced: announced, in: self)
    }

    /// Gives a range of an object's bytes, a frame at a time. While a frame is given the next one is fetched: two are in memory.
    /// - Throws: `SealingError` where a frame is missing, damaged or another one; `StoreError`; what `receive` throws.
    public func read(_ object: ObjectManifest, _ range: Range<Int>, _ receive: (UnsafeRawBufferPointer) throws -> Void) throws {
        let length = Envelope.plainFrameLength
        guard !range.isEmpty else { return }
        let numbers = range.lowerBound / length...(range.upperBound - 1) / length
        func give(_ frame: Frame, _ number: Int) throws {
            let start = number * length
            let wanted = range.clamped(to: start..<start + frame.plain.count)
            try frame.bytes[frame.plain].withUnsafeBytes {
                try receive(UnsafeRawBufferPointer(rebasing: $0[wanted.lowerBound - start..<wanted.upperBound - start]))
            }
        }
        if let hot, HotCopies.fits(object) { return try give(small(object, hot), 0) }
        if numbers.count == 1 { return try give(frame(numbers.lowerBound, of: object), numbers.lowerBound) }
        var waiting = numbers[...]
        var fetched: [Meanwhile<Frame>] = []
        defer { for frame in fetched { _ = try? frame.wait() } }
        for number in numbers {
            while fetched.count < Self.framesAtOnce, let next = waiting.popFirst() {
                fetched.append(Meanwhile("get") { try frame(next, of: object) })
            }
            try give(fetched.removeFirst().wait(), number)
        }
    }

    private static let framesAtOnce = 2

    /// The only frame of a small object: the hot copy, or else the store's, of which a hot copy is made.
    private func small(_ object: ObjectManifest, _ hot: HotCopies) throws -> Frame {
        if let copy = hot.part(of: object.place) {
            if let frame = try? open(copy, 0, of: object), SHA256.digest(Array(frame.bytes[frame.plain])).bytes == object.sha256 {
                return frame
            }
            logger.warning("a hot copy is not that of its object", metadata: ["key": "\(object.place.key)"])
        }
        let part = try part(0, of: object)
        let frame = try opened(part, 0, of: object)
        hot.keep(part, of: object.place, seconds: try database.withConnection(of: object.place.project) { try $0.hotSeconds() })
        return frame
    }

    /// A part of an object that was opened where it stands.
    private struct Frame {
        var bytes: [UInt8]
        /// Where the plain text is.
        var plain: Range<Int>
    }

    private func frame(_ number: Int, of object: ObjectManifest) throws -> Frame {
        try opened(part(number, of: object), number, of: object)
    }

    /// A part as it is in the store.
    private func part(_ number: Int, of object: ObjectManifest) throws -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.length(of: number, object) + Envelope.longestPart - Envelope.plainFrameLength)
        do {
            try watched { try store.get(ObjectPlace.part(number, of: object.place.key), range: nil) { bytes.append(contentsOf: $0) } }
            return bytes
        } catch StoreError.noSuchKey {
            logger.error("a part of a stored object is gone", metadata: ["key": "\(object.place.key)", "part": "\(number)"])
            throw StoreError.noSuchKey
        }
    }

    private func opened(_ part: consuming [UInt8], _ number: Int, of object: ObjectManifest) throws -> Frame {
        do {
            return try open(part, number, of: object)
        } catch let error as SealingError {
            logger.error("a stored object cannot be opened", metadata: ["key": "\(object.place.key)", "part": "\(number)"])
            throw error
        }
    }

    private func open(_ part: consuming [UInt8], _ number: Int, of object: ObjectManifest) throws -> Frame {
        var bytes = part
        let envelope = try sealing.opener(
            of: bytes, project: object.place.project.description, kind: object.place.kind.rawValue, object: object.place.key)
        let plain = try envelope.openPart(&bytes, number: number, isLast: number == object.parts - 1)
        guard plain.count == Self.length(of: number, object) else { throw SealingError.cannotOpen }
        return Frame(bytes: bytes, plain: plain)
    }

    /// Of a frame's plain text.
    private static func length(of number: Int, _ object: ObjectManifest) -> Int {
        number == object.parts - 1 ? object.bytes - number * Envelope.plainFrameLength : Envelope.plainFrameLength
    }

    /// Says in the log why the store did not do it.
    func watched<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let error as StoreError {
            switch error {
            case .unavailable(let why): logger.warning("the object store is away", metadata: ["why": "\(why)"])
            case .refused(let code): logger.error("the object store refuses us", metadata: ["code": "\(code)"])
            case .noSuchKey, .badKey: break
            }
            throw error
        }
    }

    /// Deletes the bytes of an object whose row is marked as deleted, and then the row.
    func remove(_ key: String, parts: Int) throws {
        for number in 0..<parts { try watched { try store.delete(ObjectPlace.part(number, of: key)) } }
    }
}
