/// Reads exactly one value out of bytes that nobody vouches for. What is read costs memory in proportion to the bytes that are really there.
public struct MessagePackReader: ~Copyable {
    /// What one value may need at most.
    public struct Limits: Sendable {
        /// Arrays and maps inside of each other; one without any inside has depth 1.
        public var depth: Int
        /// Values in all, those in arrays and maps and the keys among them. An empty value takes one byte on the wire and 25 in memory.
        public var values: Int

        public init(depth: Int = 16, values: Int = 65_536) {
            self.depth = depth
            self.values = values
        }
    }

    private let bytes: UnsafeRawBufferPointer
    private let limits: Limits
    private var position = 0
    private var values = 0

    private init(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) {
        self.bytes = bytes
        self.limits = limits
    }

    /// - Throws: `MessagePackError`.
    public static func read(_ bytes: UnsafeRawBufferPointer, limits: Limits = Limits()) throws(MessagePackError) -> MessagePackValue {
        var reader = MessagePackReader(bytes, limits)
        let value = try reader.value(depth: 0)
        guard reader.position == bytes.count else { throw .trailingBytes(offset: reader.position) }
        return value
    }

    /// - Throws: `MessagePackError`.
    public static func read(_ bytes: [UInt8], limits: Limits = Limits()) throws(MessagePackError) -> MessagePackValue {
        let answer = bytes.withUnsafeBytes { bytes -> Result<MessagePackValue, MessagePackError> in
            do throws(MessagePackError) { return .success(try read(bytes, limits: limits)) } catch { return .failure(error) }
        }
        return try answer.get()
    }

    private mutating func value(depth: Int) throws(MessagePackError) -> MessagePackValue {
        let start = position
        try count(at: start)
        let type: UInt8 = try number(start)
        switch type {
        case 0x00...0x7f: return .integer(Int64(type))
        case 0x80...0x8f: return try map(Int(type & 0x0f), start, depth)
        case 0x90...0x9f: return try array(Int(type & 0x0f), start, depth)
        case 0xa0...0xbf: return .string(try text(Int(type & 0x1f), start))
        case 0xc0: return .null
        case 0xc2: return .bool(false)
        case 0xc3: return .bool(true)
        case 0xc4: return .binary(try binary(Int(number(start) as UInt8), start))
        case 0xc5: return .binary(try binary(Int(number(start) as UInt16), start))
        case 0xc6: return .binary(try binary(Int(number(start) as UInt32), start))
        case 0xca: return .double(Double(Float(bitPattern: try number(start))))
        case 0xcb: return .double(Double(bitPattern: try number(start)))
        case 0xcc: return .integer(Int64(try number(start) as UInt8))
        case 0xcd: return .integer(Int64(try number(start) as UInt16))
        case 0xce: return .integer(Int64(try number(start) as UInt32))
        case 0xcf: return MessagePackValue(try number(start) as UInt64)
        case 0xd0: return .integer(Int64(try number(start) as Int8))
        case 0xd1: return .integer(Int64(try number(start) as Int16))
        case 0xd2: return .integer(Int64(try number(start) as Int32))
        case 0xd3: return .integer(try number(start))
        case 0xd9: return .string(try text(Int(number(start) as UInt8), start))
        case 0xda: return .string(try text(Int(number(start) as UInt16), start))
        case 0xdb: return .string(try text(Int(number(start) as UInt32), start))
        case 0xdc: return try array(Int(number(start) as UInt16), start, depth)
        case 0xdd: return try array(Int(number(start) as UInt32), start, depth)
        case 0xde: return try map(Int(number(start) as UInt16), start, depth)
        case 0xdf: return try map(Int(number(start) as UInt32), start, depth)
        case 0xe0...0xff: return .integer(Int64(Int8(bitPattern: type)))
        default: throw .unknownType(type, offset: start)
        }
    }

    private mutating func count(at start: Int) throws(MessagePackError) {
        values += 1
        guard values <= limits.values else { throw .tooManyValues(offset: start) }
    }

    /// The next number, big-endian.
    private mutating func number<Number: FixedWidthInteger>(_ start: Int) throws(MessagePackError) -> Number {
        let length = MemoryLayout<Number>.size
        guard bytes.count - position >= length else { throw .truncated(offset: start) }
        defer { position += length }
        return Number(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    private mutating func take(_ length: Int, _ start: Int) throws(MessagePackError) -> UnsafeRawBufferPointer {
        guard bytes.count - position >= length else { throw .truncated(offset: start) }
        defer { position += length }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<(position + length)])
    }

    private mutating func binary(_ length: Int, _ start: Int) throws(MessagePackError) -> [UInt8] {
        Array(try take(length, start))
    }

    private mutating func text(_ length: Int, _ start: Int) throws(MessagePackError) -> String {
        let bytes = try take(length, start)
        // Names of fields are ASCII, which need not be validated again.
        if bytes.allSatisfy({ $0 < 0x80 }) { return String(decoding: bytes, as: UTF8.self) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalidUTF8(offset: start) }
        return text
    }

    private mutating func array(_ length: Int, _ start: Int, _ depth: Int) throws(MessagePackError) -> MessagePackValue {
        try enter(depth, items: length, start)
        var items: [MessagePackValue] = []
        items.reserveCapacity(length)
        for _ in 0..<length { items.append(try value(depth: depth + 1)) }
        return .array(items)
    }

    private mutating func map(_ length: Int, _ start: Int, _ depth: Int) throws(MessagePackError) -> MessagePackValue {
        try enter(depth, items: 2 * length, start)
        var members: [MessagePackMap.Member] = []
        members.reserveCapacity(length)
        // Comparing with all before is the fastest for the maps of our frames; a large one must not take its square.
        var seen: Set<String>? = length > 32 ? [] : nil
        for _ in 0..<length {
            let keyStart = position
            let key = try self.key()
            let isNew = seen?.insert(key).inserted ?? !members.contains { $0.key == key }
            guard isNew else { throw .duplicateKey(offset: keyStart) }
            members.append((key, try value(depth: depth + 1)))
        }
        return .map(MessagePackMap(unchecked: members))
    }

    private mutating func key() throws(MessagePackError) -> String {
        let start = position
        try count(at: start)
        switch try number(start) as UInt8 {
        case let type where 0xa0...0xbf ~= type: return try text(Int(type & 0x1f), start)
        case 0xd9: return try text(Int(number(start) as UInt8), start)
        case 0xda: return try text(Int(number(start) as UInt16), start)
        case 0xdb: return try text(Int(number(start) as UInt32), start)
        default: throw .keyIsNoText(offset: start)
        }
    }

    /// Each item has at least one byte, so a length beyond the bytes, or beyond what is allowed, is refused before memory is taken for it.
    private func enter(_ depth: Int, items: Int, _ start: Int) throws(MessagePackError) {
        guard depth < limits.depth else { throw .tooDeep(offset: start) }
        guard items <= bytes.count - position else { throw .truncated(offset: start) }
        guard items <= limits.values - values else { throw .tooManyValues(offset: start) }
    }
}
