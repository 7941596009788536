/// Bound values laid out as libpq wants them: one block of bytes, texts closed by a NUL.
struct Parameters {
    typealias Call = (Int32, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?) -> Int32

    private var bytes: [UInt8] = []
    /// Where each value starts; nil = NULL.
    private var offsets: [Int?] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []

    private static let text: Int32 = 0
    private static let binary: Int32 = 1

    init(_ values: [SQLValue]) throws {
        for value in values {
            switch value {
            case .null: append([], at: nil, format: Self.text)
            case .text(let text): try appendText(text.utf8)
            case .utf8(let text): try appendText(text)
            case .bytes(let value): append(value, at: bytes.count, format: Self.binary)
            }
        }
    }

    /// libpq measures texts by their NUL, so one inside would silently cut the value.
    private mutating func appendText(_ text: some Collection<UInt8>) throws {
        guard !text.contains(0) else { throw PostgresError.invalidParameter("A text holds a NUL character.") }
        append(text, at: bytes.count, format: Self.text)
    }

    private mutating func append(_ value: some Collection<UInt8>, at offset: Int?, format: Int32) {
        offsets.append(offset)
        lengths.append(Int32(clamping: value.count))
        formats.append(format)
        bytes.append(contentsOf: value)
        bytes.append(0)
    }

    func withPointers(_ call: Call) -> Int32 {
        bytes.withUnsafeBytes { block in
            let start = block.bindMemory(to: CChar.self).baseAddress
            let pointers = offsets.map { offset in offset.flatMap { start?.advanced(by: $0) } }
            return pointers.withUnsafeBufferPointer { values in
                call(Int32(pointers.count), values.baseAddress, lengths, formats)
            }
        }
    }
}
