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
    let logger: Logger

    public init(store: any ObjectStore, database: TenantDatabase, sealing: Sealing, logger: Logger) {
        self.store = store
        self.database = database
        self.sealing = sealing
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

    /// A part of an object that was opened where it stands.
    private struct Frame {
        var bytes: [UInt8]
        /// Where the plain text is.
        var plain: Range<Int>
    }

    private func frame(_ number: Int, of object: ObjectManifest) throws -> Frame {
        let length = Envelope.plainFrameLength
        let expected = number == object.parts - 1 ? object.bytes - number * length : length
        var bytes: [UInt8] = []
        bytes.reserveCapacity(expected + Envelope.longestPart - length)
        do {
            try watched { try store.get(ObjectPlace.part(number, of: object.place.key), range: nil) { bytes.append(contentsOf: $0) } }
            let envelope = try sealing.opener(
                of: bytes, project: object.place.project.description, kind: object.place.kind.rawValue, object: object.place.key)
            let plain = try envelope.openPart(&bytes, number: number, isLast: number == object.parts - 1)
            guard plain.count == expected else { throw SealingError.cannotOpen }
            return Frame(bytes: bytes, plain: plain)
        } catch let error as SealingError {
            logger.error("a stored object cannot be opened", metadata: ["key": "\(object.place.key)", "part": "\(number)"])
            throw error
        } catch StoreError.noSuchKey {
            logger.error("a part of a stored object is gone", metadata: ["key": "\(object.place.key)", "part": "\(number)"])
            throw StoreError.noSuchKey
        }
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
