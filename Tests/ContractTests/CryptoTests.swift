import Crypto
import Testing

@Suite struct CryptoTests {
    @Test func digestsFollowTheStandard() {
        let hex = SHA256.digest("abc").bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(SHA256.digest([UInt8]()).bytes[0] == 0xE3)
        #expect(SHA256.digest("abc") != SHA256.digest("abd"))
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
