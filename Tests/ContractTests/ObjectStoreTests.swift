import Crypto
import Foundation
import ObjectStore
import Testing

/// The same list of calls against the real store with both drivers, and what they say when the way to it is bad.
@Suite(
    .enabled(if: StoreServer.isConfigured, "XEROTIER_STORE_URL is not set: no test of the object store runs. `make test` sets it."),
    .serialized)
struct ObjectStoreTests {
    static let signatures: [StoreSignature] = [.v2, .v4]

    private static func prefix() -> String { "tests/\(UInt64.random(in: 0...UInt64.max))" }

    @Test(arguments: signatures) func whatWasPutComesBackWholeAndInRanges(signature: StoreSignature) async throws {
        try await onThread {
            let store = try signature.store(StoreServer.settings())
            let key = "\(Self.prefix())/bytes"
            let bytes = Random.bytes((4 << 20) + 56)
            try store.put(key, bytes)
            #expect(try store.size(of: key) == bytes.count)
            #expect(try store.get(key) == bytes)
            for range in [0..<1, 0..<bytes.count, 100..<70_000, bytes.count - 1..<bytes.count, 4_000_000..<bytes.count + 1_000] {
                #expect(try store.get(key, range: range) == Array(bytes[range.clamped(to: 0..<bytes.count)]))
            }
            #expect(try store.get(key, range: 5..<5).isEmpty)
            try store.put(key, [1, 2, 3])
            #expect(try store.get(key) == [1, 2, 3])
            try store.delete(key)
            #expect(try store.size(of: key) == nil)
            try store.delete(key)
        }
    }

    @Test(arguments: signatures) func anObjectMayBeEmpty(signature: StoreSignature) async throws {
        try await onThread {
            let store = try signature.store(StoreServer.settings())
            let key = "\(Self.prefix())/empty"
            try store.put(key, [])
            #expect(try store.get(key).isEmpty)
            #expect(try store.size(of: key) == 0)
            try store.delete(key)
        }
    }

    @Test(arguments: signatures) func whatIsNotThereIsSaidSo(signature: StoreSignature) async throws {
        try await onThread {
            let store = try signature.store(StoreServer.settings())
            let key = "\(Self.prefix())/nothing"
            #expect(throws: StoreError.noSuchKey) { try store.get(key) }
            #expect(try store.size(of: key) == nil)
            try store.delete(key)
        }
    }

    @Test(arguments: signatures) func listsGoOnWhereTheyEnded(signature: StoreSignature) async throws {
        try await onThread {
            let store = try signature.store(StoreServer.settings())
            let prefix = Self.prefix()
            let keys = (0..<7).map { "\(prefix)/\($0)" }
            for (index, key) in keys.enumerated() { try store.put(key, Array(repeating: 7, count: index)) }
            try store.put("\(prefix)x", [1])
            var found: [StoredObject] = []
            var pages = 0
            repeat {
                let page = try store.list(prefix: "\(prefix)/", after: found.last?.key, limit: 3)
                found += page.objects
                pages += 1
                if !page.hasMore { break }
            } while pages < 10
            #expect(pages == 3)
            #expect(found.map(\.key) == keys)
            #expect(found.map(\.bytes) == Array(0..<7))
            let now = Int(Date().timeIntervalSince1970)
            #expect(found.allSatisfy { abs($0.modifiedAt - now) < 600 })
            for key in keys + ["\(prefix)x"] { try store.delete(key) }
            #expect(try store.list(prefix: "\(prefix)/", after: nil, limit: 10) == StoredObjects(objects: [], hasMore: false))
        }
    }

    @Test(arguments: signatures) func aPresignedURLGetsItsObjectAndNoOther(signature: StoreSignature) async throws {
        let store = try signature.store(StoreServer.settings())
        let key = "\(Self.prefix())/shown"
        try await onThread {
            try store.put(key, Array("shown".utf8))
            try store.put(key + "2", Array("hidden".utf8))
        }
        let url = try store.presignedGet(key, seconds: 60)
        #expect(try await Self.fetch(url) == (200, "shown"))
        #expect(try await Self.fetch(url.replacing("/shown", with: "/shown2")).status == 403)
        // 400 where a store takes a time in the past for nonsense.
        #expect([400, 403].contains(try await Self.fetch(try store.presignedGet(key, seconds: -5)).status))
    }

    private static func fetch(_ url: String) async throws -> (status: Int, text: String) {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/curl")
        process.arguments = ["-s", "-m", "20", "-w", "\n%{http_code}", url]
        process.standardOutput = output
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        let parts = text.split(separator: "\n", omittingEmptySubsequences: false)
        return (Int(parts.last ?? "") ?? 0, parts.dropLast().joined(separator: "\n"))
    }

    @Test(arguments: signatures) func keysThatAStoreCouldMisreadAreNotSent(signature: StoreSignature) async throws {
        try await onThread {
            let store = try signature.store(StoreServer.settings())
            for key in ["", "a b", "a+b", "a//b", "/a", "a/", "a/../b", "é", "a?b", String(repeating: "a", count: 513)] {
                #expect(throws: StoreError.badKey) { try store.put(key, [1]) }
                #expect(throws: StoreError.badKey) { try store.get(key) }
                #expect(throws: StoreError.badKey) { try store.delete(key) }
            }
        }
    }

    // MARK: a bad way to the store

    private static func faulty(_ signature: StoreSignature, timeout: Duration = .seconds(30), attempts: Int = 3) throws
        -> (FaultyStore, any ObjectStore)
    {
        let proxy = try FaultyStore()
        var settings = StoreServer.settings(url: proxy.url)
        settings.timeout = timeout
        settings.attempts = attempts
        settings.pause = .milliseconds(2)
        return (proxy, try signature.store(settings))
    }

    private static func isUnavailable(_ body: () throws -> Void) -> Bool {
        do { try body() } catch StoreError.unavailable { return true } catch {}
        return false
    }

    @Test(arguments: signatures) func anOverloadedStoreIsAskedAgain(signature: StoreSignature) async throws {
        try await onThread {
            let (proxy, store) = try Self.faulty(signature)
            let key = "\(Self.prefix())/again"
            proxy.set(.answer(FaultyStore.slowDown, times: 2))
            try store.put(key, Array("at last".utf8))
            #expect(proxy.connections >= 3)
            #expect(try store.get(key) == Array("at last".utf8))
            proxy.set(.answer(FaultyStore.slowDown, times: 100))
            let (second, hasty) = try Self.faulty(signature)
            second.set(.answer(FaultyStore.slowDown, times: 100))
            #expect(Self.isUnavailable { try hasty.put(key, [1]) })
            #expect(second.connections == 3)
        }
    }

    @Test(arguments: signatures) func aStoreThatIsAwayOrSilentIsUnavailableInTime(signature: StoreSignature) async throws {
        try await onThread {
            let (proxy, store) = try Self.faulty(signature, timeout: .seconds(1), attempts: 2)
            for mode in [FaultyStore.Mode.refuse, .stall] {
                proxy.set(mode)
                let start = ContinuousClock.now
                #expect(Self.isUnavailable { try store.put("tests/silent", [1]) })
                #expect(Self.isUnavailable { _ = try store.get("tests/silent") })
                #expect(Self.isUnavailable { _ = try store.list(prefix: "tests/", after: nil, limit: 1) })
                #expect(ContinuousClock.now - start < .seconds(30))
            }
            var nowhere = StoreServer.settings(url: "http://127.0.0.1:9")
            nowhere.pause = .milliseconds(1)
            let away = try signature.store(nowhere)
            #expect(Self.isUnavailable { try away.put("tests/away", [1]) })
        }
    }

    /// To libs3 a connection that closes in the middle of an object is its end.
    @Test(arguments: signatures) func anObjectThatBreaksOffIsNoShorterObject(signature: StoreSignature) async throws {
        try await onThread {
            let (proxy, store) = try Self.faulty(signature)
            let key = "\(Self.prefix())/cut"
            let bytes = Random.bytes(1 << 20)
            try store.put(key, bytes)
            let (cutting, cut) = try Self.faulty(signature)
            for after in [0, 100, 5_000, 900_000] {
                cutting.set(.cutAnswer(after: after))
                var received: [UInt8] = []
                #expect(Self.isUnavailable { try cut.get(key, range: nil) { received.append(contentsOf: $0) } }, "cut after \(after)")
                // Given on once, in spite of several attempts.
                #expect(received == Array(bytes.prefix(received.count)))
            }
            proxy.set(.forward)
            #expect(try store.get(key) == bytes)
        }
    }

    @Test(arguments: signatures) func aPutThatBreaksOffLeavesNothingOrAll(signature: StoreSignature) async throws {
        try await onThread {
            let real = try signature.store(StoreServer.settings())
            let (proxy, store) = try Self.faulty(signature, attempts: 1)
            let key = "\(Self.prefix())/half"
            let bytes = Random.bytes(1 << 20)
            for after in [10, 70_000, 1_000_000] {
                proxy.set(.cutRequest(after: after))
                #expect(Self.isUnavailable { try store.put(key, bytes) })
                #expect(try real.size(of: key) == nil)
            }
            proxy.set(.cutAnswer(after: 5))
            #expect(Self.isUnavailable { try store.put(key, bytes) })
            proxy.set(.forward)
            try store.put(key, bytes)
            #expect(try real.get(key) == bytes)
        }
    }

    @Test(arguments: signatures) func aWrongKeyClockOrBucketIsTheOperatorsToMend(signature: StoreSignature) async throws {
        try await onThread {
            var settings = StoreServer.settings()
            settings.secretKey = "x" + settings.secretKey.dropFirst()
            let wrong = try signature.store(settings)
            #expect(throws: StoreError.refused(signature == .v2 ? "ErrorSignatureDoesNotMatch" : "SignatureDoesNotMatch")) {
                try wrong.put("tests/wrong", [1])
            }
            var elsewhere = StoreServer.settings()
            elsewhere.bucket = "no-such-bucket"
            let lost = try signature.store(elsewhere)
            #expect(throws: StoreError.refused(signature == .v2 ? "ErrorNoSuchBucket" : "NoSuchBucket")) { try lost.put("tests/lost", [1]) }
            let (proxy, store) = try Self.faulty(signature)
            proxy.set(.answer(FaultyStore.skewed, times: 9))
            #expect(throws: StoreError.refused(signature == .v2 ? "ErrorRequestTimeTooSkewed" : "RequestTimeTooSkewed")) {
                try store.put("tests/skewed", [1])
            }
            // It would be refused again, so it was asked once.
            #expect(proxy.connections == 1)
        }
    }

    @Test func aSecretThatLibs3WouldCutIsRefused() throws {
        var settings = StoreServer.settings()
        settings.secretKey = String(repeating: "s", count: 65)
        #expect(throws: StoreError.refused("SecretKeyTooLong")) { try StoreSignature.v2.store(settings) }
    }

    @Test func aSignatureOfAnotherTimeIsRefused() async throws {
        try await onThread {
            let store = StoreSignature.v4Store(StoreServer.settings(), clockSkew: 3_600)
            #expect(throws: StoreError.refused("RequestTimeTooSkewed")) { try store.put("tests/skewed", [1]) }
        }
    }

    @Test(arguments: signatures) func manyThreadsShareOneStore(signature: StoreSignature) async throws {
        try await onThread {
            let store = try signature.store(StoreServer.settings())
            let prefix = Self.prefix()
            onThreads(8) { number in
                for round in 0..<5 {
                    let bytes = Array(repeating: UInt8(number * 5 + round), count: 10_000)
                    let key = "\(prefix)/\(number)-\(round)"
                    #expect(throws: Never.self) {
                        try store.put(key, bytes)
                        #expect(try store.get(key) == bytes)
                        try store.delete(key)
                    }
                }
            }
        }
    }
}
