/// One bound value, as it travels to the server.
public enum SQLValue: Sendable, Equatable {
    case null
    case text(String)
    /// UTF-8 text, such as JSON, without the detour over `String`.
    case utf8([UInt8])
    /// A `bytea`.
    case bytes([UInt8])
}

/// A type whose values can be bound.
public protocol SQLBindable {
    var sqlValue: SQLValue { get }
}

/// A statement with its values. Interpolation binds: `"… WHERE id = \(id)"` sends `… WHERE id = $1`, so a value never becomes SQL.
public struct SQL: ExpressibleByStringInterpolation, Sendable {
    public let text: String
    public let values: [SQLValue]

    public init(stringLiteral text: String) {
        self.text = text
        values = []
    }

    public init(stringInterpolation: StringInterpolation) {
        text = stringInterpolation.text
        values = stringInterpolation.values
    }

    /// A statement whose text already holds `$1`, `$2`, …
    public init(_ text: String, values: [SQLValue]) {
        self.text = text
        self.values = values
    }

    public struct StringInterpolation: StringInterpolationProtocol {
        var text = ""
        var values: [SQLValue] = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + 4 * interpolationCount)
            values.reserveCapacity(interpolationCount)
        }

        public mutating func appendLiteral(_ literal: String) { text += literal }

        public mutating func appendInterpolation(_ value: some SQLBindable) { bind(value.sqlValue) }
        public mutating func appendInterpolation(_ value: (some SQLBindable)?) { bind(value?.sqlValue ?? .null) }
        /// A `text[]`.
        public mutating func appendInterpolation(_ values: [String]) { bind(.text(TextArray.encode(values))) }
        public mutating func appendInterpolation(_ values: [String]?) { bind(values.map { .text(TextArray.encode($0)) } ?? .null) }
        /// JSON text as it is, for a parameter of type `json` or `jsonb`.
        public mutating func appendInterpolation(json: [UInt8]) { bind(.utf8(json)) }
        /// SQL that the code itself wrote, such as a list of columns; never a value from outside.
        public mutating func appendInterpolation(trusted: String) { text += trusted }

        private mutating func bind(_ value: SQLValue) {
            values.append(value)
            text += "$\(values.count)"
        }
    }
}

extension String: SQLBindable { public var sqlValue: SQLValue { .text(self) } }
extension Int: SQLBindable { public var sqlValue: SQLValue { .text(String(self)) } }
extension Int64: SQLBindable { public var sqlValue: SQLValue { .text(String(self)) } }
extension Double: SQLBindable { public var sqlValue: SQLValue { .text(String(self)) } }
extension Bool: SQLBindable { public var sqlValue: SQLValue { .text(self ? "t" : "f") } }
extension [UInt8]: SQLBindable { public var sqlValue: SQLValue { .bytes(self) } }

/// The text form of a one-dimensional `text[]`: postgresql.org/docs/current/arrays.html#ARRAYS-IO
enum TextArray {
    static func encode(_ values: [String]) -> String {
        let quoted = values.map { value in
            var text = "\""
            for character in value.unicodeScalars {
                if character == "\"" || character == "\\" { text.append("\\") }
                text.unicodeScalars.append(character)
            }
            return text + "\""
        }
        return "{" + quoted.joined(separator: ",") + "}"
    }

    /// nil for a text of another form, or one with a NULL element.
    static func decode(_ text: some Collection<UInt8>) -> [String]? {
        guard text.first == UInt8(ascii: "{") else { return nil }
        var values: [String] = []
        var element: [UInt8] = []
        var isQuoted = false
        var wasQuoted = false
        var isEscaped = false
        for byte in text.dropFirst() {
            switch byte {
            case _ where isEscaped:
                element.append(byte)
                isEscaped = false
            case UInt8(ascii: "\\"): isEscaped = true
            case UInt8(ascii: "\""):
                isQuoted.toggle()
                wasQuoted = true
            case UInt8(ascii: ",") where !isQuoted, UInt8(ascii: "}") where !isQuoted:
                if !wasQuoted && element == Array("NULL".utf8) { return nil }
                if wasQuoted || !element.isEmpty { values.append(String(decoding: element, as: UTF8.self)) }
                element = []
                wasQuoted = false
                if byte == UInt8(ascii: "}") { return values }
            default: element.append(byte)
            }
        }
        return nil
    }
}
