import MessagePack
import Testing

/// The values are those of the format's own table (https://github.com/msgpack/msgpack/blob/master/spec.md), at the ends of each range.
@Suite struct MessagePackTests {
    static let shortest: [(MessagePackValue, [UInt8])] = [
        (.null, [0xc0]), (.bool(false), [0xc2]), (.bool(true), [0xc3]),
        (.integer(0), [0x00]), (.integer(127), [0x7f]), (.integer(128), [0xcc, 0x80]), (.integer(255), [0xcc, 0xff]),
        (.integer(256), [0xcd, 0x01, 0x00]), (.integer(65_535), [0xcd, 0xff, 0xff]), (.integer(65_536), [0xce, 0, 1, 0, 0]),
        (.integer(4_294_967_295), [0xce, 0xff, 0xff, 0xff, 0xff]), (.integer(4_294_967_296), [0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        (.integer(.max), [0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (MessagePackValue(UInt64.max), [0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (.integer(-1), [0xff]), (.integer(-32), [0xe0]), (.integer(-33), [0xd0, 0xdf]), (.integer(-128), [0xd0, 0x80]),
        (.integer(-129), [0xd1, 0xff, 0x7f]), (.integer(-32_768), [0xd1, 0x80, 0x00]), (.integer(-32_769), [0xd2, 0xff, 0xff, 0x7f, 0xff]),
        (.integer(-2_147_483_648), [0xd2, 0x80, 0, 0, 0]),
        (.integer(-2_147_483_649), [0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        (.integer(.min), [0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        (.double(1.5), [0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]),
        (.string(""), [0xa0]), (.string("é"), [0xa2, 0xc3, 0xa9]), (.binary([]), [0xc4, 0]), (.binary([1, 2]), [0xc4, 2, 1, 2]),
        (.array([]), [0x90]), (.array([.integer(1), .null]), [0x92, 0x01, 0xc0]),
        (.map([:]), [0x80]), (.map(["a": .integer(1), "b": .map([:])]), [0x82, 0xa1, 0x61, 0x01, 0xa1, 0x62, 0x80]),
    ]

    @Test(arguments: shortest.indices)
    func valuesAreWrittenShortestAndReadBack(index: Int) throws {
        let (value, bytes) = Self.shortest[index]
        #expect(MessagePackWriter.bytes(of: value) == bytes)
        #expect(try MessagePackReader.read(bytes) == value)
    }

    @Test(arguments: [15, 16, 31, 32, 255, 256, 65_535, 65_536])
    func lengthsAtTheEndsOfTheirFormsAreReadBack(length: Int) throws {
        let numbers = [MessagePackValue](repeating: .integer(7), count: length)
        let members = (0..<min(length, 20_000)).map { ("key \($0)", MessagePackValue.integer(Int64($0))) }
        var map = MessagePackMap()
        for member in members where length < 300 { map.append(member.0, member.1) }
        for value in [
            .string(String(repeating: "x", count: length)), .binary([UInt8](repeating: 9, count: length)), .array(numbers), .map(map),
        ] as [MessagePackValue] {
            let read = try MessagePackReader.read(MessagePackWriter.bytes(of: value), limits: .init(values: 1 << 20))
            #expect(read == value)
        }
    }

    /// Other writers may take a longer form than is needed, or floats of 32 bits.
    @Test func longerFormsAreReadAsTheSameValues() throws {
        #expect(try MessagePackReader.read([0xcd, 0, 7]) == .integer(7))
        #expect(try MessagePackReader.read([0xd3, 0, 0, 0, 0, 0, 0, 0, 7]) == .integer(7))
        #expect(try MessagePackReader.read([0xdb, 0, 0, 0, 1, 0x61]) == .string("a"))
        #expect(try MessagePackReader.read([0xdf, 0, 0, 0, 1, 0xd9, 1, 0x61, 0xc6, 0, 0, 0, 1, 5]) == .map(["a": .binary([5])]))
        #expect(try MessagePackReader.read([0xca, 0x3f, 0xc0, 0, 0]) == .double(1.5))
    }

    static let refused: [([UInt8], MessagePackError)] = [
        ([], .truncated(offset: 0)),
        ([0xcd, 0x01], .truncated(offset: 0)),
        ([0xa5, 0x61], .truncated(offset: 0)),
        ([0x92, 0x01, 0xa2, 0x61], .truncated(offset: 2)),
        ([0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0], .truncated(offset: 0)),
        ([0xdf, 0xff, 0xff, 0xff, 0xff, 0xa0, 0xc0], .truncated(offset: 0)),
        ([0xc6, 0xff, 0xff, 0xff, 0xff, 1], .truncated(offset: 0)),
        ([0xc0, 0xc0], .trailingBytes(offset: 1)),
        ([0xc1], .unknownType(0xc1, offset: 0)),
        ([0xd4, 0x01, 0x00], .unknownType(0xd4, offset: 0)),
        ([0x91, 0xc7, 0x00, 0x01], .unknownType(0xc7, offset: 1)),
        ([0xa2, 0xc3, 0x28], .invalidUTF8(offset: 0)),
        ([0xa3, 0xed, 0xa0, 0x80], .invalidUTF8(offset: 0)),
        ([0x81, 0xa1, 0xff, 0xc0], .invalidUTF8(offset: 1)),
        ([0x81, 0x01, 0xc0], .keyIsNoText(offset: 1)),
        ([0x81, 0x90, 0xc0], .keyIsNoText(offset: 1)),
        ([0x81, 0xc4, 0x01, 0x61, 0xc0], .keyIsNoText(offset: 1)),
        ([0x82, 0xa1, 0x61, 0x01, 0xa1, 0x61, 0x01], .duplicateKey(offset: 4)),
        // The same key in a longer form.
        ([0x82, 0xa1, 0x61, 0x01, 0xd9, 0x01, 0x61, 0x02], .duplicateKey(offset: 4)),
    ]

    @Test(arguments: refused.indices)
    func whatIsNoSingleValueIsRefusedWithItsPlace(index: Int) {
        let (bytes, error) = Self.refused[index]
        #expect(throws: error) { try MessagePackReader.read(bytes) }
    }

    @Test func aKeyTwiceInALargeMapIsRefused() {
        let keys = (0..<100).map { "key \($0)" } + ["key 7"]
        let bytes: [UInt8] = keys.reduce(into: [0xde, 0, 101]) { $0 += MessagePackWriter.bytes(of: .string($1)) + [0xc0] }
        #expect(throws: MessagePackError.duplicateKey(offset: 3 + 10 * 7 + 90 * 8)) { try MessagePackReader.read(bytes) }
    }

    @Test func depthAndNumberOfValuesAreBounded() throws {
        let deep = [UInt8](repeating: 0x91, count: 16) + [0xc0]
        _ = try MessagePackReader.read(deep)
        #expect(throws: MessagePackError.tooDeep(offset: 16)) { try MessagePackReader.read([0x91] + deep) }
        #expect(throws: MessagePackError.tooDeep(offset: 16)) { try MessagePackReader.read([UInt8](repeating: 0x91, count: 1 << 20)) }
        let six: [UInt8] = [0x92, 0x92, 0xc0, 0xc0, 0x91, 0xc0]
        _ = try MessagePackReader.read(six, limits: .init(values: 6))
        #expect(throws: MessagePackError.tooManyValues(offset: 4)) { try MessagePackReader.read(six, limits: .init(values: 5)) }
        // 4 MiB of nulls would become 100 MiB: refused by the length, before any of them is read.
        let many: [UInt8] = [0xdd, 0, 0x40, 0, 0] + [UInt8](repeating: 0xc0, count: 4 << 20)
        #expect(throws: MessagePackError.tooManyValues(offset: 0)) { try MessagePackReader.read(many) }
    }

    @Test func membersAreSetReplacedAndRemovedByKey() {
        var map: MessagePackMap = ["a": .integer(1), "b": .integer(2)]
        map["a"] = .integer(3)
        map["b"] = nil
        map["c"] = .null
        #expect(map == ["a": .integer(3), "c": .null])
        #expect(map["b"] == nil)
    }
}
