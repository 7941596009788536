/// Appends JSON text to a buffer. The caller puts commas, colons and brackets; values are escaped here.
public struct JSONWriter {
    public private(set) var bytes: [UInt8] = []

    public init(capacity: Int = 512) { bytes.reserveCapacity(capacity) }

    /// Text that is already JSON.
    public mutating func raw(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    public mutating func raw(_ text: UnsafeRawBufferPointer) { bytes.append(contentsOf: text) }
    public mutating func raw(_ text: [UInt8]) { bytes.append(contentsOf: text) }
    public mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }

    public mutating func integer(_ value: some FixedWidthInteger) {
        digits(of: UInt64(value.magnitude), atLeast: 1, isNegative: value < 0)
    }

    /// A number with a fixed count of decimals: 1234 with 3 is `1.234`.
    public mutating func fixed(_ units: Int, decimals: Int) {
        let scale = (0..<decimals).reduce(1) { scale, _ in scale * 10 }
        digits(of: UInt64(units.magnitude) / UInt64(scale), atLeast: 1, isNegative: units < 0)
        bytes.append(UInt8(ascii: "."))
        digits(of: UInt64(units.magnitude) % UInt64(scale), atLeast: decimals, isNegative: false)
    }

    private mutating func digits(of value: UInt64, atLeast count: Int, isNegative: Bool) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 21) { buffer in
            var start = buffer.count
            var rest = value
            while rest > 0 || buffer.count - start < count {
                start -= 1
                buffer[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
            if isNegative {
                start -= 1
                buffer[start] = UInt8(ascii: "-")
            }
            bytes.append(contentsOf: UnsafeBufferPointer(rebasing: buffer[start...]))
        }
    }

    /// Finite numbers only; JSON has no others, so others become null.
    public mutating func number(_ value: Double) {
        value.isFinite ? raw("\(value)") : raw("null" as StaticString)
    }

    public mutating func bool(_ value: Bool) { value ? raw("true" as StaticString) : raw("false" as StaticString) }

    public mutating func string(_ text: String) {
        var copy = text
        copy.withUTF8 { string(UnsafeRawBufferPointer($0)) }
    }

    public mutating func string(_ text: String?) {
        if let text { string(text) } else { raw("null" as StaticString) }
    }

    /// UTF-8 text as a JSON string (RFC 8259 §7).
    public mutating func string(_ utf8: UnsafeRawBufferPointer) {
        bytes.append(UInt8(ascii: "\""))
        var start = 0
        for index in 0..<utf8.count {
            let byte = utf8[index]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            bytes.append(contentsOf: utf8[start..<index])
            escape(byte)
            start = index + 1
        }
        bytes.append(contentsOf: utf8[start..<utf8.count])
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func escape(_ byte: UInt8) {
        bytes.append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(byte)
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        case 0x0D: bytes.append(UInt8(ascii: "r"))
        case 0x09: bytes.append(UInt8(ascii: "t"))
        default:
            let digits: StaticString = "0123456789abcdef"
            raw("u00" as StaticString)
            bytes.append(digits.utf8Start[Int(byte >> 4)])
            bytes.append(digits.utf8Start[Int(byte & 15)])
        }
    }
}
