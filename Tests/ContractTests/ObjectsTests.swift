import Accounts
import Crypto
import Foundation
import Logging
import ObjectStore
import OpenAI
import Postgres
import Storage
import Tenancy
import Testing

/// Objects of projects in a real store, with their rows in a real Postgres.
@Suite(
    .enabled(if: StoreServer.isConfigured, "XEROTIER_STORE_URL is not set: no test of the object store runs. `make test` sets it."),
    .enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct ObjectsTests {
    final class Bench: Sendable {
        let database: TestDatabase
        let a: TestProject
        let b: TestProject
        let store: any ObjectStore
        let objects: Objects
        let sealing: Sealing
        let system: SystemDatabase

        init(store: (any ObjectStore)? = nil, hot: HotCopies? = nil) throws {
            database = try PostgresServer.makeDatabase()
            a = try database.makeProject("acme")
            b = try database.makeProject("bolt")
            self.store = try store ?? StoreSignature.v4.store(StoreServer.settings())
            system = database.system()
            sealing = Sealing(keys: DataKeys(database: system, masters: try DataKeysTests.old))
            objects = Objects(
                store: self.store, database: a.tenants, sealing: sealing, hot: hot,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }

        func place(_ id: String = "one") -> ObjectPlace { ObjectPlace(project: a.id, kind: .artifact, id: id) }

        /// Stores bytes as an upload would, in pieces.
        func put(_ bytes: [UInt8], _ place: ObjectPlace, expected: Int? = nil) throws -> ObjectManifest {
            let writer = try objects.write(place, expected: expected)
            for start in stride(from: 0, to: bytes.count, by: 300_001) {
                try bytes[start..<min(start + 300_001, bytes.count)].withUnsafeBytes { try writer.append($0) }
            }
            let object = try writer.finish()
            try a.tenants.transaction(of: a.id) { try writer.commit(object, on: $0) }
            writer.committed()
            return object
        }

        func get(_ object: ObjectManifest, _ range: Range<Int>? = nil) throws -> [UInt8] {
            var bytes: [UInt8] = []
            try objects.read(object, range ?? 0..<object.bytes) { bytes.append(contentsOf: $0) }
            return bytes
        }

        func usage() throws -> (bytes: Int, reserved: Int) {
            let row = try system.withConnection {
                try $0.query(
                    "SELECT coalesce(max(bytes), 0) AS bytes, coalesce(max(reserved), 0) AS reserved FROM storage_usage WHERE project_id = \(a.id)"
                )[0]
            }
            return (try row.get("bytes"), try row.get("reserved"))
        }

        func keys() throws -> [String] { try store.list(prefix: "\(a.id)/", after: nil, limit: 100).objects.map(\.key) }
        func rows() throws -> Int { try system.withConnection { try $0.query("SELECT count(*) AS n FROM objects")[0].get("n") } }
        var sweep: StorageSweep {
            StorageSweep(database: system, store: store, timeScale: 1, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }
    }

    private static let frame = Envelope.plainFrameLength

    @Test(arguments: [nil, 20 << 20]) func bytesComeBackWholeAndInRangesOverFrames(expected: Int?) async throws {
        try await onThread {
            let bench = try Bench()
            for count in [1, 1_000, Self.frame, Self.frame + 1, 2 * Self.frame + 77] {
                let bytes = Random.bytes(count)
                let object = try bench.put(bytes, bench.place("of-\(count)"), expected: expected)
                #expect(object.bytes == count)
                #expect(object.parts == (count + Self.frame - 1) / Self.frame)
                #expect(object.sha256 == SHA256.digest(bytes).bytes)
                #expect(try bench.get(object) == bytes)
                for range in [
                    0..<1, count - 1..<count, count / 2..<count, count > Self.frame ? Self.frame - 5..<Self.frame + 1 : 0..<count,
                ]
                where !range.isEmpty && range.upperBound <= count {
                    #expect(try bench.get(object, range) == Array(bytes[range]))
                }
            }
            let total = 1 + 1_000 + Self.frame + Self.frame + 1 + 2 * Self.frame + 77
            #expect(try bench.usage() == (total, 0))
            let readout = try bench.a.withConnection { try $0.storageReadout() }
            #expect(readout == StorageReadout(bytesUsed: total, bytesLimit: 4_000_000_000, byKind: ["artifact": total]))
        }
    }

    @Test func theBucketShowsNothingAndAnotherProjectsKeyOpensNothing() async throws {
        try await onThread {
            let bench = try Bench()
            let marker = Array("a marker that nobody else writes".utf8)
            let object = try bench.put(marker, bench.place())
            _ = try bench.sealing.seal(project: bench.b.id.description, kind: "artifact", object: "x", marker)
            let sealed = try bench.store.get("\(bench.place().key)/0")
            #expect(!String(decoding: sealed, as: UTF8.self).contains("marker"))
            // The same bytes under the other project's name: neither its keys nor its place fit.
            var stolen = object
            stolen.place.project = bench.b.id
            try bench.store.put("\(stolen.place.key)/0", sealed)
            #expect(throws: SealingError.noKey) { try bench.get(stolen) }
            try bench.store.delete("\(stolen.place.key)/0")
        }
    }

    @Test func framesThatAreSwappedCutChangedOrGoneAreNoticed() async throws {
        try await onThread {
            let bench = try Bench()
            let object = try bench.put(Random.bytes(3 * Self.frame), bench.place())
            let keys = (0..<3).map { "\(object.place.key)/\($0)" }
            let parts = try keys.map { try bench.store.get($0) }
            // Swapped.
            try bench.store.put(keys[0], parts[1])
            #expect(throws: SealingError.cannotOpen) { try bench.get(object) }
            // The end is another frame, or the object claims to be shorter.
            try bench.store.put(keys[0], parts[0])
            try bench.store.put(keys[2], parts[1])
            #expect(throws: SealingError.cannotOpen) { try bench.get(object) }
            var shorter = object
            (shorter.parts, shorter.bytes) = (2, 2 * Self.frame)
            #expect(throws: SealingError.cannotOpen) { try bench.get(shorter) }
            // Cut, and changed.
            try bench.store.put(keys[2], Array(parts[2].dropLast()))
            #expect(throws: SealingError.cannotOpen) { try bench.get(object) }
            var changed = parts[2]
            changed[5_000] ^= 1
            try bench.store.put(keys[2], changed)
            #expect(throws: SealingError.cannotOpen) { try bench.get(object) }
            try bench.store.delete(keys[2])
            #expect(throws: StoreError.noSuchKey) { try bench.get(object) }
            try bench.store.put(keys[2], parts[2])
            #expect(throws: Never.self) { try bench.get(object) }
        }
    }

    @Test func aRotatedKeySealsWhatIsNewAndOpensWhatIsOld() async throws {
        try await onThread {
            let bench = try Bench()
            let old = try bench.put([1, 2, 3], bench.place("old"))
            _ = try bench.system.withConnection {
                try $0.rotateDataKey(of: bench.a.id, try DataKeysTests.old, by: tester)
            }
            let fresh = Objects(
                store: bench.store, database: bench.a.tenants,
                sealing: Sealing(keys: DataKeys(database: bench.system, masters: try DataKeysTests.old)),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let writer = try fresh.write(bench.place("new"), expected: nil)
            try ([4, 5] as [UInt8]).withUnsafeBytes { try writer.append($0) }
            let new = try writer.finish()
            try bench.a.tenants.transaction(of: bench.a.id) { try writer.commit(new, on: $0) }
            writer.committed()
            for (object, bytes) in [(old, [1, 2, 3] as [UInt8]), (new, [4, 5])] {
                var got: [UInt8] = []
                try fresh.read(object, 0..<object.bytes) { got.append(contentsOf: $0) }
                #expect(got == bytes)
            }
            let heads = try ["old", "new"].map { Array(try bench.store.get("\(bench.place($0).key)/0").prefix(Envelope.headerLength)) }
            #expect(heads[0] != heads[1])
        }
    }

    @Test func whatIsNotCommittedIsInvisibleAndGivenBack() async throws {
        try await onThread {
            let bench = try Bench()
            for expected in [nil, 9 << 20] as [Int?] {
                do {
                    let writer = try bench.objects.write(bench.place(), expected: expected)
                    try Random.bytes(9 << 20).withUnsafeBytes { try writer.append($0) }
                    #expect(try bench.usage().bytes == 0)
                    #expect(try bench.usage().reserved == (expected ?? 2 * Self.frame))
                    // Both may still be on their way.
                    #expect(try bench.keys().count <= 2)
                }
                // The writer is gone, and with it all that it had.
                #expect(try bench.usage() == (0, 0))
                #expect(try bench.keys().isEmpty)
                try bench.sweep.sweep()
                #expect(try bench.rows() == 0)
            }
        }
    }

    @Test func aProjectStoresNoMoreThanItMay() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.system.withConnection {
                try $0.query("INSERT INTO storage_usage (project_id, limit_bytes) VALUES (\(bench.a.id), 5000000)")
            }
            #expect(throws: StorageError.quota(limit: 5_000_000)) { _ = try bench.objects.write(bench.place("large"), expected: 5_000_001) }
            #expect(try bench.usage() == (0, 0))
            #expect(throws: StorageError.quota(limit: 5_000_000)) { _ = try bench.put(Random.bytes(6_000_000), bench.place("unknown")) }
            #expect(try bench.usage() == (0, 0))
            let object = try bench.put(Random.bytes(5_000_000), bench.place("fits"), expected: 5_000_000)
            #expect(throws: StorageError.quota(limit: 5_000_000)) { _ = try bench.put([1], bench.place("more")) }
            try bench.a.withConnection { try $0.deleteObject(object.place.key) }
            #expect(try bench.usage() == (0, 0))
            _ = try bench.put([1], bench.place("again"))
        }
    }

    @Test func manyWritersTogetherStayWithinTheLimit() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.system.withConnection {
                try $0.query("INSERT INTO storage_usage (project_id, limit_bytes) VALUES (\(bench.a.id), 10000)")
            }
            onThreads(8) { number in _ = try? bench.put(Random.bytes(3_000), bench.place("w\(number)"), expected: 3_000) }
            #expect(try bench.usage() == (9_000, 0))
        }
    }

    @Test func theSweeperCollectsWhatDiedAndWhatWasDeleted() async throws {
        try await onThread {
            let bench = try Bench()
            let kept = try bench.put(Random.bytes(10), bench.place("kept"))
            let gone = try bench.put(Random.bytes(Self.frame + 1), bench.place("gone"))
            // One whose process died: nobody gives it up.
            let dead = Unmanaged.passRetained(try bench.objects.write(bench.place("dead"), expected: 9 << 20))
            try Random.bytes(9 << 20).withUnsafeBytes { try dead.takeUnretainedValue().append($0) }
            try bench.sweep.sweep()
            #expect(try bench.usage() == (10 + Self.frame + 1, 9 << 20))
            _ = try bench.system.withConnection { try $0.query("UPDATE objects SET touched_at = touched_at - interval '11 minutes'") }
            try bench.a.withConnection { try $0.deleteObject(gone.place.key) }
            try bench.sweep.sweep()
            #expect(try bench.usage() == (10, 0))
            #expect(try bench.keys() == ["\(kept.place.key)/0"])
            #expect(try bench.rows() == 1)
            // The dead one wakes up: it has nothing any more, and leaves nothing.
            #expect(throws: StorageError.givenUp) {
                let object = try dead.takeUnretainedValue().finish()
                try bench.a.tenants.transaction(of: bench.a.id) { try dead.takeUnretainedValue().commit(object, on: $0) }
            }
            #expect(try bench.usage() == (10, 0))
            dead.release()
            #expect(try bench.keys() == ["\(kept.place.key)/0"])
            #expect(try bench.get(kept).count == 10)
        }
    }

    @Test func bytesWithoutARowAreCollectedWhenTheyAreOldAndCountersAreSetRight() async throws {
        try await onThread {
            let bench = try Bench()
            let kept = try bench.put(Random.bytes(10), bench.place("kept"))
            let orphan = "\(bench.a.id)/file/file-lost/0"
            let foreign = "\(ID<Project>.random())/file/file-foreign/0"
            for key in [orphan, foreign] { try bench.store.put(key, [1]) }
            try bench.sweep.reconcile()
            #expect(try bench.store.size(of: orphan) == 1)
            _ = try bench.system.withConnection {
                try $0.query("UPDATE storage_usage SET bytes = 5000000, reserved = 7 WHERE project_id = \(bench.a.id)")
            }
            // With time running so fast, a second later, a day has passed.
            sleep(2)
            let fast = StorageSweep(
                database: bench.system, store: bench.store, timeScale: 1e-5, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            )
            try fast.reconcile()
            #expect(try bench.store.size(of: orphan) == nil)
            #expect(try bench.store.size(of: foreign) == 1)
            #expect(try bench.get(kept).count == 10)
            #expect(try bench.usage() == (10, 0))
            try bench.store.delete(foreign)
        }
    }

    @Test func aStoreThatIsAwayTakesNothingAndCostsNothing() async throws {
        try await onThread {
            let proxy = try FaultyStore()
            var settings = StoreServer.settings(url: proxy.url)
            settings.pause = .milliseconds(1)
            let bench = try Bench(store: try StoreSignature.v4.store(settings))
            let kept = try bench.put([1, 2, 3], bench.place("kept"))
            proxy.set(.answer(FaultyStore.slowDown, times: 1_000))
            #expect(throws: StoreError.self) { _ = try bench.put([4], bench.place("away")) }
            #expect(try bench.usage() == (3, 0))
            #expect(throws: StoreError.self) { _ = try bench.get(kept) }
            #expect(throws: StoreError.self) { try bench.sweep.sweep() }
            proxy.set(.forward)
            #expect(try bench.get(kept) == [1, 2, 3])
            try bench.sweep.sweep()
            #expect(try bench.rows() == 1)
        }
    }

    @Test func largeAnswersAreKeptForTheirRequestAndEndWithTheKeys() async throws {
        try await onThread {
            let bench = try Bench()
            let answer = Random.bytes(Self.frame + 5)
            try bench.objects.keep(answer, of: "req_1", for: bench.a.id)
            #expect(try bench.objects.answer(of: "req_1", for: bench.a.id) == answer)
            #expect(throws: StoreError.noSuchKey) { try bench.objects.answer(of: "req_1", for: bench.b.id) }
            #expect(try bench.usage() == (answer.count, 0))
            try bench.sweep.sweep()
            #expect(try bench.usage() == (answer.count, 0))
            _ = try bench.system.withConnection { try $0.query("UPDATE objects SET created_at = created_at - interval '26 hours'") }
            try bench.sweep.sweep()
            #expect(try bench.usage() == (0, 0))
            #expect(try bench.keys().isEmpty)
        }
    }
}
