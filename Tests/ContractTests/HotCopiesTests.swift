import Crypto
import Logging
import OpenAI
import ObjectStore
import Redis
import Storage
import Tenancy
import Testing

/// Copies of small objects in a Redis of their own, beside a real store and a real Postgres.
@Suite(
    .enabled(if: StoreServer.isConfigured, "XEROTIER_STORE_URL is not set: no test of the object store runs. `make test` sets it."),
    .enabled(if: PostgresServer.isConfigured, PostgresServer.skipReason))
struct HotCopiesTests {
    private final class Bench: Sendable {
        let server: RedisServer
        let redis: RedisPool
        let objects: ObjectsTests.Bench

        init() throws {
            server = try RedisServer()
            redis = RedisPool(socket: server.socket, size: 4, pause: .milliseconds(1))
            objects = try ObjectsTests.Bench(
                hot: HotCopies(redis: redis, timeScale: 1, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
        }

        func ask(_ words: RedisArgument...) throws -> RedisReply { try redis.withConnection { try $0.command(words) } }
        func key(_ object: ObjectManifest) -> RedisArgument { .string("hot:\(object.place.key)") }
        func copy(_ object: ObjectManifest) throws -> RedisReply { try ask("GET", key(object)) }
        func part(_ object: ObjectManifest) throws -> [UInt8] { try objects.store.get("\(object.place.key)/0") }
    }

    @Test func aSmallObjectIsReadWithoutTheStoreAndAnEmptiedRedisIsFilledAgain() async throws {
        try await onThread {
            let bench = try Bench()
            let marker = Array("a sentence that nobody shall find".utf8)
            let object = try bench.objects.put(marker, bench.objects.place())
            let part = try bench.part(object)
            // What the store has, and so sealed.
            #expect(try bench.copy(object) == .bytes(part))
            #expect(!String(decoding: part, as: UTF8.self).contains("sentence"))
            let left = try #require(try bench.ask("TTL", bench.key(object)).integer)
            #expect((1...3_600).contains(left), "a project without endpoints has the shortest time of all, an hour")
            try bench.objects.store.delete("\(object.place.key)/0")
            #expect(try bench.objects.get(object) == marker)
            #expect(try bench.objects.get(object, 2..<10) == Array(marker[2..<10]))
            _ = try bench.ask("FLUSHALL")
            #expect(throws: StoreError.noSuchKey) { try bench.objects.get(object) }
            try bench.objects.store.put("\(object.place.key)/0", part)
            #expect(try bench.objects.get(object) == marker)
            #expect(try bench.copy(object) == .bytes(part))
        }
    }

    @Test func onlySmallObjectsThatAreCommittedHaveACopy() async throws {
        try await onThread {
            let bench = try Bench()
            let largest = try bench.objects.put(Random.bytes(HotCopies.largest), bench.objects.place("largest"))
            let larger = try bench.objects.put(Random.bytes(HotCopies.largest + 1), bench.objects.place("larger"))
            #expect(try bench.copy(largest) != .null)
            #expect(try bench.objects.get(larger).count == HotCopies.largest + 1)
            #expect(try bench.copy(larger) == .null)
            do {
                let writer = try bench.objects.objects.write(bench.objects.place("never"), expected: 3)
                try ([1, 2, 3] as [UInt8]).withUnsafeBytes { try writer.append($0) }
                _ = try writer.finish()
            }
            #expect(try bench.ask("DBSIZE") == .integer(1))
        }
    }

    /// Another object's copy, another project's, one of the same object from before, and bytes of anybody.
    @Test func aWrongCopyIsNeverGivenAndIsReplaced() async throws {
        try await onThread {
            let bench = try Bench()
            let before = try bench.objects.put([1, 2, 3], bench.objects.place())
            let stale = try bench.part(before)
            try bench.objects.a.withConnection { try $0.deleteObject(before.place.key) }
            try bench.objects.sweep.sweep()
            let object = try bench.objects.put([4, 5, 6], bench.objects.place())
            let right = try bench.part(object)
            let other = try bench.objects.put([7, 8, 9], bench.objects.place("other"))
            var changed = right
            changed[changed.count - 1] ^= 1
            for wrong in [stale, try bench.part(other), changed, [], Array("rubbish".utf8)] {
                _ = try bench.ask("SET", bench.key(object), .bytes(wrong))
                #expect(try bench.objects.get(object) == [4, 5, 6])
                #expect(try bench.copy(object) == .bytes(right))
            }
        }
    }

    @Test func withoutRedisNothingIsMissing() async throws {
        try await onThread {
            let bench = try Bench()
            let object = try bench.objects.put([1, 2, 3], bench.objects.place())
            bench.server.stop()
            #expect(try bench.objects.get(object) == [1, 2, 3])
            let other = try bench.objects.put([4], bench.objects.place("other"))
            #expect(try bench.objects.get(other) == [4])
            try bench.server.start()
            #expect(try eventually { try bench.objects.get(other) == [4] && (try? bench.copy(other)) ?? .null != .null })
        }
    }

    @Test func copiesLeaveHalfOfRedisToOthers() async throws {
        try await onThread {
            let bench = try Bench()
            _ = try bench.ask("CONFIG", "SET", "maxmemory", "4000000")
            for number in 0..<20 {
                let object = try bench.objects.put(Random.bytes(200_000), bench.objects.place("\(number)"))
                #expect(try bench.objects.get(object).count == 200_000)
            }
            let copies = try #require(try bench.ask("DBSIZE").integer)
            #expect((1...9).contains(copies), "\(copies) of 200 KB each")
            #expect(try bench.ask("SET", "counter", "1") == .status("OK"))
        }
    }
}
