import Crypto
import ObjectStore
import OpenAI
import Tenancy
import Threads

/// Takes the bytes of one object and stores them, frame by frame. A full frame is put by a thread of its own while the next one is read: in memory are
/// one sealed frame and one plain one, never more. It belongs to one thread. Until `commit` is part of a committed transaction nothing is visible; an object that is not committed is given up with its writer.
public final class ObjectWriter {
    private let place: ObjectPlace
    private let sealer: Envelope
    private let objects: Objects
    private let expected: Int?
    private var frame: [UInt8] = []
    private var parts = 0
    private let digest = SHA256.Stream()
    private var touchedAt = ContinuousClock.now
    private var isOver = false
    /// The put of the frame before, which may still go on.
    private var pending: PendingPut?
    public private(set) var bytes = 0

    /// A sign of life is given at least this often while bytes come.
    private static let quiet = Duration.seconds(60)

    init(_ place: ObjectPlace, _ sealer: ProjectSealer, expected: Int?, in objects: Objects) {
        self.place = place
        self.sealer = sealer.envelope(kind: place.kind.rawValue, object: place.key)
        self.objects = objects
        self.expected = expected
    }

    deinit { giveUp() }

    /// - Throws: `StorageError`, `StoreError`; the object must be given up then.
    public func append(_ bytes: UnsafeRawBufferPointer) throws {
        digest.add(bytes)
        self.bytes += bytes.count
        var rest = bytes
        while !rest.isEmpty {
            // Only now is it known that the full frame is not the last one.
            if frame.count == Envelope.plainFrameLength { try put(isLast: false) }
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Envelope.plainFrameLength - frame.count))
            if frame.isEmpty { frame.reserveCapacity(min(Envelope.plainFrameLength, expected ?? .max)) }
            frame.append(contentsOf: piece)
            rest = UnsafeRawBufferPointer(rebasing: rest[piece.count...])
        }
        if ContinuousClock.now - touchedAt > Self.quiet { try touch() }
    }

    /// Stores the last frame. The object is complete in the store, and still nobody sees it.
    public func finish() throws -> ObjectManifest {
        try put(isLast: true)
        return ObjectManifest(place: place, bytes: bytes, parts: parts, sha256: digest.finish().bytes)
    }

    /// Makes the object visible with the transaction that this is a part of. Call `committed` after it.
    public func commit(_ object: ObjectManifest, on connection: TenantConnection) throws { try connection.storeObject(object) }

    public func committed() { isOver = true }

    /// Gives back what is reserved, and what is stored already. What cannot be done now the sweeper does.
    public func giveUp() {
        guard !isOver else { return }
        isOver = true
        // What is put after it was removed would stay.
        try? settle()
        do {
            let parts = try objects.database.transaction(of: place.project) { try $0.giveUpObject(place) }
            guard let parts else { return }
            try objects.remove(place.key, parts: parts)
        } catch {
            objects.logger.notice("an unfinished object waits for the sweeper", metadata: ["key": "\(place.key)", "error": "\(error)"])
        }
    }

    private func put(isLast: Bool) throws {
        try settle()
        // Before the bytes: whoever collects them must know of them.
        try touch(newPart: true, more: expected == nil ? frame.count : 0)
        let sealed = try frame.withUnsafeBytes { try sealer.sealPart($0, number: parts, isLast: isLast) }
        frame.removeAll(keepingCapacity: !isLast)
        let key = ObjectPlace.part(parts, of: place.key)
        parts += 1
        if isLast {
            try objects.watched { try objects.store.put(key, sealed) }
        } else {
            pending = PendingPut { [objects] in try objects.watched { try objects.store.put(key, sealed) } }
        }
    }

    /// Waits until the frame before is in the store.
    private func settle() throws {
        guard let pending else { return }
        self.pending = nil
        try pending.wait()
    }

    private func touch(newPart: Bool = false, more: Int = 0) throws {
        try objects.database.transaction(of: place.project) {
            try $0.touchObject(place, parts: newPart ? parts + 1 : parts, reserving: more)
        }
        touchedAt = .now
    }
}

/// Something that a thread of its own does.
private struct PendingPut {
    private let outcome = Monitor<Result<Void, any Error>?>(nil)

    init(_ body: @escaping @Sendable () throws -> Void) {
        let outcome = outcome
        startThread("put") {
            let result = Result { try body() }
            outcome.change { $0 = result }
        }
    }

    func wait() throws { try outcome.wait(while: { $0 == nil }, then: { try $0?.get() }) }
}
