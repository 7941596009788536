/// Writes values in their shortest form.
public struct MessagePackWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    public static func bytes(of value: MessagePackValue) -> [UInt8] {
        var writer = MessagePackWriter()
        writer.write(value)
        return writer.bytes
    }

    public mutating func write(_ value: MessagePackValue) {
        switch value {
        case .null: bytes.append(0xc0)
        case .bool(let flag): bytes.append(flag ? 0xc3 : 0xc2)
        case .integer(let number): write(number)
        case .large(let number): append(0xcf, number)
        case .double(let number): append(0xcb, number.bitPattern)
        case .string(let text): write(text)
        case .binary(let content): write(content)
        case .array(let items):
            writeHead(items.count, short: 0x90, upTo: 15, types: (nil, 0xdc, 0xdd))
            for item in items { write(item) }
        case .map(let map): write(map)
        }
    }

    public mutating func write(_ map: MessagePackMap) {
        writeHead(map.members.count, short: 0x80, upTo: 15, types: (nil, 0xde, 0xdf))
        for member in map.members {
            write(member.key)
            write(member.value)
        }
    }

    private mutating func write(_ number: Int64) {
        switch number {
        case -32..<0: bytes.append(UInt8(bitPattern: Int8(number)))
        case 0..<128: bytes.append(UInt8(number))
        case 0...: writeUnsigned(UInt64(number))
        case Int64(Int8.min)...: append(0xd0, Int8(number))
        case Int64(Int16.min)...: append(0xd1, Int16(number))
        case Int64(Int32.min)...: append(0xd2, Int32(number))
        default: append(0xd3, number)
        }
    }

    private mutating func writeUnsigned(_ number: UInt64) {
        switch number {
        case ...UInt64(UInt8.max): append(0xcc, UInt8(number))
        case ...UInt64(UInt16.max): append(0xcd, UInt16(number))
        case ...UInt64(UInt32.max): append(0xce, UInt32(number))
        default: append(0xcf, number)
        }
    }

    private mutating func write(_ text: String) {
        var text = text
        text.withUTF8 {
            writeHead($0.count, short: 0xa0, upTo: 31, types: (0xd9, 0xda, 0xdb))
            bytes.append(contentsOf: $0)
        }
    }

    private mutating func write(_ content: [UInt8]) {
        writeHead(content.count, short: 0, upTo: -1, types: (0xc4, 0xc5, 0xc6))
        bytes.append(contentsOf: content)
    }

    private mutating func writeHead(_ count: Int, short: UInt8, upTo most: Int, types: (UInt8?, UInt8, UInt8)) {
        precondition(count <= UInt32.max, "MessagePack counts to 4,294,967,295")
        if count <= most {
            bytes.append(short | UInt8(count))
        } else if let type = types.0, count <= UInt8.max {
            append(type, UInt8(count))
        } else if count <= UInt16.max {
            append(types.1, UInt16(count))
        } else {
            append(types.2, UInt32(count))
        }
    }

    private mutating func append(_ type: UInt8, _ number: some FixedWidthInteger) {
        bytes.append(type)
        withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
    }
}
