import Crypto
import ObjectStore
import OpenAI
import Tenancy
import Threads

/// Takes the bytes of one object and stores them, frame by frame: one is put by a thread of its own while the next one is read, and a third is begun when
/// the older of two puts is over, in its memory. A writer belongs to one thread. Until `commit` is part of a committed transaction nothing is visible;
/// an object that is not committed is given up with its writer.
public final class ObjectWriter {
    private let place: ObjectPlace
    private let sealer: Envelope
    private let objects: Objects
    private let expected: Int?
    /// Room for a part's head, and the plain text behind it, which is sealed where it stands.
    private var frame: [UInt8] = []
    private var parts = 0
    /// Parts that the object's row says may be in the store.
    private var announced: Int
    private let digest = SHA256.Stream()
    private var touchedAt = ContinuousClock.now
    private var isOver = false
    /// Puts of frames before, the oldest one first, which may still go on.
    private var pending: [(put: Meanwhile<Void>, frame: SealedFrame)] = []
    /// Memory of a frame that is stored: getting and giving back 4 MiB costs as much as sealing it.
    private var spare: [UInt8] = []
    /// The only part of a small object, of which a hot copy is made once it is committed.
    private var hotPart: [UInt8]?
    public private(set) var bytes = 0

    /// While one frame is written to the store's disk another one can be on its way to it.
    private static let mostPending = 2
    private static let fullFrame = Envelope.partHeadLength + Envelope.plainFrameLength
    /// Each announcement waits for the database's disk, so one is made for several parts.
    private static let partsAtOnce = 8
    /// A sign of life is given at least this often while bytes come.
    private static let quiet = Duration.seconds(60)

    /// - Parameter announced: parts that the row in `writing` allows for already.
    init(_ place: ObjectPlace, _ sealer: ProjectSealer, expected: Int?, announced: Int, in objects: Objects) {
        self.place = place
        self.sealer = sealer.envelope(kind: place.kind.rawValue, object: place.key)
        self.objects = objects
        self.expected = expected
        self.announced = announced
    }

    deinit { giveUp() }

    /// How many parts are announced when `parts` of an object are or will be there.
    static func announcement(after parts: Int, expected: Int?) -> Int {
        // Room for what has no length is reserved frame by frame, so each is announced.
        guard let expected else { return parts + 1 }
        return min(parts + partsAtOnce, max(expected / Envelope.plainFrameLength, parts) + 1)
    }

    /// - Throws: `StorageError`, `StoreError`; the object must be given up then.
    public func append(_ bytes: UnsafeRawBufferPointer) throws {
        digest.add(bytes)
        self.bytes += bytes.count
        var rest = bytes
        while !rest.isEmpty {
            // Only now is it known that the full frame is not the last one.
            if frame.count == Self.fullFrame { try put() }
            if frame.isEmpty { try beginFrame() }
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.fullFrame - frame.count))
            frame.append(contentsOf: piece)
            rest = UnsafeRawBufferPointer(rebasing: rest[piece.count...])
        }
        if ContinuousClock.now - touchedAt > Self.quiet { try touch() }
    }

    /// Stores the last frame. The object is complete in the store, and still nobody sees it.
    public func finish() throws -> ObjectManifest {
        if frame.isEmpty { try beginFrame() }
        let (key, sealed) = try seal(isLast: true)
        try objects.watched { try objects.store.put(key, sealed) }
        try settle(leaving: 0)
        let object = ObjectManifest(place: place, bytes: bytes, parts: parts, sha256: digest.finish().bytes)
        if HotCopies.fits(object) { hotPart = sealed }
        return object
    }

    /// Makes the object visible with the transaction that this is a part of. Call `committed` after it.
    public func commit(_ object: ObjectManifest, on connection: TenantConnection) throws { try connection.storeObject(object) }

    public func committed() {
        isOver = true
        guard let hot = objects.hot, let hotPart else { return }
        do {
            hot.keep(hotPart, of: place, seconds: try objects.database.withConnection(of: place.project) { try $0.hotSeconds() })
        } catch {
            // The object is stored all the same; the first who reads it makes the copy.
            objects.logger.notice("no hot copy was made", metadata: ["key": "\(place.key)", "error": "\(error)"])
        }
    }

    /// Gives back what is reserved, and what is stored already. What cannot be done now the sweeper does.
    public func giveUp() {
        guard !isOver else { return }
        isOver = true
        // What is put after it was removed would stay.
        for each in pending { try? each.put.wait() }
        pending = []
        do {
            let parts = try objects.database.transaction(of: place.project) { connection in
                if let parts = try connection.giveUpObject(place) { return parts }
                // Stored after all, where a commit's answer was lost; or given up by the sweeper, which knows nothing of what was put after that.
                return try connection.object(place) == nil ? self.parts : 0
            }
            try objects.remove(place.key, parts: parts)
        } catch {
            objects.logger.notice("an unfinished object waits for the sweeper", metadata: ["key": "\(place.key)", "error": "\(error)"])
        }
    }

    private func beginFrame() throws {
        try settle(leaving: Self.mostPending - 1)
        swap(&frame, &spare)
        frame.removeAll(keepingCapacity: true)
        frame.reserveCapacity(min(Envelope.longestPart, (expected ?? .max / 2) + Envelope.longestPart - Envelope.plainFrameLength))
        frame.append(contentsOf: repeatElement(0, count: Envelope.partHeadLength))
    }

    private func put() throws {
        let (key, sealed) = try seal(isLast: false)
        let frame = SealedFrame(sealed)
        pending.append((Meanwhile("put") { [objects] in try objects.watched { try objects.store.put(key, frame.bytes) } }, frame))
    }

    /// Makes a part of the frame, which the row allows for.
    private func seal(isLast: Bool) throws -> (key: String, sealed: [UInt8]) {
        // Before the bytes: whoever collects them must know of them.
        if parts == announced {
            announced = Self.announcement(after: parts, expected: expected)
            try touch(more: expected == nil ? frame.count - Envelope.partHeadLength : 0)
        }
        try sealer.sealPart(&frame, number: parts, isLast: isLast)
        defer {
            frame = []
            parts += 1
        }
        return (ObjectPlace.part(parts, of: place.key), frame)
    }

    /// Waits until so few puts are under way.
    private func settle(leaving most: Int) throws {
        while pending.count > most {
            let (put, frame) = pending.removeFirst()
            try put.wait()
            spare = frame.takeBytes()
        }
    }

    private func touch(more: Int = 0) throws {
        try objects.database.transaction(of: place.project) { try $0.touchObject(place, parts: announced, reserving: more) }
        touchedAt = .now
    }
}

/// A frame that is put by another thread, which still has it for a moment after it has said that it is done. So that nobody else holds the bytes
/// themselves by then, and their memory can be used again.
private final class SealedFrame: Sendable {
    private let held: Lock<[UInt8]>

    init(_ bytes: [UInt8]) { held = Lock(bytes) }

    var bytes: [UInt8] { held.withLock { $0 } }

    func takeBytes() -> [UInt8] {
        held.withLock { bytes in
            defer { bytes = [] }
            return bytes
        }
    }
}
