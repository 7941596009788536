import Glibc

/// One value of a composite type in binary form, as `record_recv` of Postgres reads it: a count of columns, and for each its type, its length and
/// its bytes, all in network byte order. Nothing is turned into digits and back, on neither side.
public struct Record: Sendable {
    private var bytes: [UInt8]
    private var columns: Int32 = 0

    /// The types' identifiers in `pg_type`, the same in every Postgres.
    private enum TypeID {
        static let bool: Int32 = 16
        static let int8: Int32 = 20
        static let int4: Int32 = 23
        static let text: Int32 = 25
        static let timestamptz: Int32 = 1_184
    }

    /// Between 1970-01-01 and 2000-01-01, where Postgres' time begins.
    private static let epochMicroseconds: Int64 = 946_684_800_000_000

    public init(capacity: Int = 0) {
        bytes = [0, 0, 0, 0]
        bytes.reserveCapacity(capacity)
    }

    /// Postgres has no NUL in texts and would refuse the whole row: U+FFFD stands for it.
    public mutating func text(_ value: String?) {
        guard var value else { return null(TypeID.text) }
        let isWritten = value.withUTF8 { utf8 in
            guard utf8.isEmpty || memchr(utf8.baseAddress!, 0, utf8.count) == nil else { return false }
            begin(TypeID.text, length: utf8.count)
            bytes.append(contentsOf: utf8)
            return true
        }
        if !isWritten { text(String(value.unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : Character($0) })) }
    }

    public mutating func bigint(_ value: some FixedWidthInteger) {
        begin(TypeID.int8, length: 8)
        append(Int64(clamping: value))
    }

    /// A value that does not fit is cut to what does.
    public mutating func integer(_ value: Int?) {
        guard let value else { return null(TypeID.int4) }
        begin(TypeID.int4, length: 4)
        append(Int32(clamping: value))
    }

    public mutating func bool(_ value: Bool) {
        begin(TypeID.bool, length: 1)
        bytes.append(value ? 1 : 0)
    }

    /// - Parameter microseconds: since 1970.
    public mutating func timestamp(microseconds: Int64) {
        begin(TypeID.timestamptz, length: 8)
        append(microseconds - Self.epochMicroseconds)
    }

    public consuming func finish() -> [UInt8] {
        withUnsafeBytes(of: columns.bigEndian) { for (index, byte) in $0.enumerated() { bytes[index] = byte } }
        return bytes
    }

    /// The binary form of an array of records, for a parameter whose type the statement says.
    public static func array(_ records: some Collection<[UInt8]>) -> [UInt8] {
        var array: [UInt8] = []
        array.reserveCapacity(records.reduce(20) { $0 + $1.count + 4 })
        // Dimensions, no NULLs, the elements' type (0: the statement knows), length, first index.
        for number in [1, 0, 0, Int32(records.count), 1] { withUnsafeBytes(of: number.bigEndian) { array.append(contentsOf: $0) } }
        for record in records {
            withUnsafeBytes(of: Int32(record.count).bigEndian) { array.append(contentsOf: $0) }
            array.append(contentsOf: record)
        }
        return array
    }

    private mutating func null(_ type: Int32) { begin(type, length: -1) }

    private mutating func begin(_ type: Int32, length: Int) {
        columns += 1
        append(Int64(type) << 32 | Int64(UInt32(bitPattern: Int32(length))))
    }

    private mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
}
