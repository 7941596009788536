/// A number of JSON as it is written, so that 0.0075 is a multiple of 0.0001 and 1.0 is 1.
///
/// Up to 30 digits are exact; beyond them a number counts as the nearest `Double`.
public struct JSONNumber: Sendable, Hashable, Comparable {
    /// `significand · 10^exponent`, without zeros at the end; nil where the digits are too many.
    private let exact: Exact?
    private let nearest: Double

    private struct Exact: Hashable {
        var significand: Int128
        var exponent: Int
    }

    /// - Parameter text: a number of RFC 8259.
    public init(_ text: some Collection<UInt8>) {
        nearest = Double(String(decoding: text, as: UTF8.self)) ?? 0
        exact = Self.read(text)
    }

    public init(_ value: Int) {
        nearest = Double(value)
        var rest = value
        var exponent = 0
        while rest != 0, rest % 10 == 0 {
            rest /= 10
            exponent += 1
        }
        exact = Exact(significand: Int128(rest), exponent: exponent)
    }

    /// The nearest `Double`. A number is less than another where its nearest is; where they are the same, they may still differ.
    public var approximate: Double { nearest }

    public var isInteger: Bool { exact.map { $0.exponent >= 0 } ?? (nearest.rounded() == nearest) }

    /// Its value where it is a whole number that fits.
    public var integer: Int? {
        guard let exact, exact.exponent >= 0, let scaled = Self.scaled(exact, to: 0) else { return nil }
        return Int(exactly: scaled)
    }

    public func isMultiple(of divisor: JSONNumber) -> Bool {
        if let exact, let other = divisor.exact {
            if exact.significand == 0 { return true }
            let exponent = min(exact.exponent, other.exponent)
            if let left = Self.scaled(exact, to: exponent), let right = Self.scaled(other, to: exponent), right != 0 {
                return left % right == 0
            }
        }
        let quotient = nearest / divisor.nearest
        return quotient.isFinite && quotient.rounded() == quotient
    }

    public static func < (left: JSONNumber, right: JSONNumber) -> Bool {
        if let first = left.exact, let second = right.exact {
            let exponent = min(first.exponent, second.exponent)
            if let first = scaled(first, to: exponent), let second = scaled(second, to: exponent) { return first < second }
        }
        return left.nearest < right.nearest
    }

    public static func == (left: JSONNumber, right: JSONNumber) -> Bool {
        if let first = left.exact, let second = right.exact { return first == second }
        return left.nearest == right.nearest
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(nearest) }

    private static func scaled(_ number: Exact, to exponent: Int) -> Int128? {
        var value = number.significand
        guard number.exponent - exponent <= 60 else { return value == 0 ? 0 : nil }
        for _ in 0..<(number.exponent - exponent) {
            let (product, overflows) = value.multipliedReportingOverflow(by: 10)
            if overflows { return nil }
            value = product
        }
        return value
    }

    private static func read(_ text: some Collection<UInt8>) -> Exact? {
        var significand: Int128 = 0
        var exponent = 0
        var digits = 0
        var isNegative = false
        var isFraction = false
        var rest = text[...]
        while let byte = rest.first {
            rest = rest.dropFirst()
            switch byte {
            case UInt8(ascii: "-"): isNegative = true
            case UInt8(ascii: "."): isFraction = true
            case UInt8(ascii: "e"), UInt8(ascii: "E"):
                guard let written = Int(String(decoding: rest, as: UTF8.self)), abs(written) < 10_000 else { return nil }
                exponent += written
                rest = rest.dropFirst(rest.count)
            default:
                if digits > 0 || byte != UInt8(ascii: "0") { digits += 1 }
                guard digits <= 30 else { return nil }
                significand = significand * 10 + Int128(byte - UInt8(ascii: "0"))
                if isFraction { exponent -= 1 }
            }
        }
        if significand == 0 { return Exact(significand: 0, exponent: 0) }
        while significand % 10 == 0 {
            significand /= 10
            exponent += 1
        }
        return Exact(significand: isNegative ? -significand : significand, exponent: exponent)
    }
}
