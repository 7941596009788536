import Crypto
import Testing

@Suite struct CryptoTests {
    static let master = [UInt8](repeating: 7, count: 32)

    @Test func digestsFollowTheStandard() {
        let hex = SHA256.digest("abc").bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(SHA256.digest([UInt8]()).bytes[0] == 0xE3)
        #expect(SHA256.digest("abc") != SHA256.digest("abd"))
    }

    @Test(arguments: [0, 1, 100, 1 << 20])
    func whatIsSealedOpensAgain(count: Int) throws {
        let sealing = try Sealing(masterKey: Self.master)
        let plain = Random.bytes(count)
        let sealed = try sealing.seal(project: "proj_a", kind: "key", plain)
        #expect(try sealing.open(project: "proj_a", kind: "key", sealed) == plain)
        #expect(try sealing.seal(project: "proj_a", kind: "key", plain) != sealed)
    }

    @Test func anotherProjectKindOrKeyDoesNotOpen() throws {
        let sealing = try Sealing(masterKey: Self.master)
        let sealed = try sealing.seal(project: "proj_a", kind: "key", Array("secret".utf8))
        #expect(throws: SealingError.cannotOpen) { try sealing.open(project: "proj_b", kind: "key", sealed) }
        #expect(throws: SealingError.cannotOpen) { try sealing.open(project: "proj_a", kind: "other", sealed) }
        let other = try Sealing(masterKey: [UInt8](repeating: 8, count: 32))
        #expect(throws: SealingError.cannotOpen) { try other.open(project: "proj_a", kind: "key", sealed) }
    }

    @Test func everyChangedByteAndEveryCutIsNoticed() throws {
        let sealing = try Sealing(masterKey: Self.master)
        let sealed = try sealing.seal(project: "proj_a", kind: "key", Array("secret".utf8))
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1
            #expect(throws: SealingError.cannotOpen) { try sealing.open(project: "proj_a", kind: "key", changed) }
            #expect(throws: SealingError.cannotOpen) { try sealing.open(project: "proj_a", kind: "key", Array(sealed[..<index])) }
        }
    }

    @Test(arguments: ["", "abc", "AAAA"])
    func badMasterKeysAreRefused(text: String) {
        #expect(throws: SealingError.badMasterKey) { try Sealing(base64: text) }
    }

    @Test func base64URLHasNoPadding() {
        #expect(Base64URL.encode([0xFB, 0xFF, 0xFE, 0xFF]) == "-__-_w")
        #expect(Base64URL.encode(Random.bytes(32)).utf8.count == 43)
    }

    @Test func comparisonLooksAtEveryByte() {
        #expect(ConstantTime.areEqual([1, 2, 3], [1, 2, 3]))
        #expect(!ConstantTime.areEqual([1, 2, 3], [1, 2, 4]))
        #expect(!ConstantTime.areEqual([1, 2, 3], [1, 2]))
    }
}
