import CSimdJSON

/// A value of a parsed document, and where its text stands. Valid only inside the `parse` call that gave it.
public struct JSONElement {
    let raw: xj_element
    let source: UnsafePointer<CChar>?
    /// The bytes of this value in the parsed text (for the root: to the end of the text).
    public let range: Range<Int>

    public enum Kind: Sendable { case object, array, string, integer, double, bool, null }

    public var kind: Kind {
        switch UInt8(bitPattern: xj_type(raw)) {
        case UInt8(ascii: "{"): .object
        case UInt8(ascii: "["): .array
        case UInt8(ascii: "\""): .string
        case UInt8(ascii: "l"): .integer
        case UInt8(ascii: "d"): .double
        case UInt8(ascii: "n"): .null
        default: .bool
        }
    }

    /// The same value without its text, and so are all values in it: a walk then need not look for their ends.
    public var withoutText: JSONElement { JSONElement(raw: raw, source: nil, range: 0..<0) }
    public var hasText: Bool { source != nil }

    /// Its place among the values and names of the document: each has another, and those within a value come after it, in order.
    public var position: Int { raw.index }

    public var isNull: Bool { kind == .null }

    /// Whether an object has a member of that name; looks at names alone.
    public func has(_ name: UnsafeRawBufferPointer) -> Bool {
        // An empty name may have no address.
        withUnsafePointer(to: CChar(0)) { empty in
            xj_has(raw, name.baseAddress?.assumingMemoryBound(to: CChar.self) ?? empty, name.count)
        }
    }

    /// The text as it stands in the source, quotes and escapes included.
    public var text: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: source.map { UnsafeRawPointer($0) + range.lowerBound }, count: range.count)
    }

    /// The string's UTF-8 with escapes resolved; nil when this is no string.
    public var utf8: UnsafeRawBufferPointer? {
        guard kind == .string else { return nil }
        let text = xj_string(raw)
        return UnsafeRawBufferPointer(start: text.bytes, count: text.count)
    }

    public var string: String? { utf8.map { String(decoding: $0, as: UTF8.self) } }

    public var integer: Int? { kind == .integer ? Int(xj_int64(raw)) : nil }

    /// How many elements or members; 0 for other kinds.
    public var count: Int { kind == .array || kind == .object ? xj_count(raw) : 0 }

    /// The number, whether written as an integer or not.
    public var number: Double? {
        switch kind {
        case .integer: Double(xj_int64(raw))
        case .double: xj_double(raw)
        default: nil
        }
    }

    public var bool: Bool? { kind == .bool ? xj_type(raw) == CChar(bitPattern: UInt8(ascii: "t")) : nil }

    /// The members of an object in the order of the text; nothing for other kinds.
    public var members: Members { Members(of: self) }

    /// The elements of an array; nothing for other kinds.
    public var elements: Elements { Elements(of: self) }

    /// The first member of that name.
    public subscript(name: StaticString) -> JSONElement? {
        // Most names that we ask for are not there.
        guard xj_has(raw, UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), name.utf8CodeUnitCount) else { return nil }
        for member in members where member.name == name { return member.value }
        return nil
    }

    public struct Member {
        public let name: Name
        public let value: JSONElement
        /// From the name's opening quote to the end of the value.
        public let range: Range<Int>

        /// The name as a value, a string.
        public var nameElement: JSONElement {
            // On simdjson's tape a name is one word, right before its value.
            let raw = xj_element(document: value.raw.document, index: value.raw.index - 1)
            return JSONElement(raw: raw, source: value.source, range: range.lowerBound..<value.range.lowerBound)
        }
    }

    public struct Members: Sequence, IteratorProtocol {
        private var cursor: xj_cursor?

        /// No members.
        public static var none: Members { Members() }

        private init() {}

        init(of element: JSONElement) {
            cursor = element.kind == .object ? xj_walk(element.raw, element.source, element.range.lowerBound) : nil
        }

        public mutating func next() -> Member? {
            var member = xj_member()
            guard cursor != nil, xj_next(&cursor!, &member) else { return nil }
            let value = JSONElement(raw: member.value, source: cursor!.source, range: member.begin..<member.end)
            return Member(name: Name(text: member.key), value: value, range: member.key_begin..<member.end)
        }
    }

    public struct Elements: Sequence, IteratorProtocol {
        private var cursor: xj_cursor?

        /// No elements.
        public static var none: Elements { Elements() }

        private init() {}

        init(of element: JSONElement) {
            cursor = element.kind == .array ? xj_walk(element.raw, element.source, element.range.lowerBound) : nil
        }

        public mutating func next() -> JSONElement? {
            var member = xj_member()
            guard cursor != nil, xj_next(&cursor!, &member) else { return nil }
            return JSONElement(raw: member.value, source: cursor!.source, range: member.begin..<member.end)
        }
    }

    /// A member's name, escapes resolved, compared without making a `String`.
    public struct Name: CustomStringConvertible {
        let text: xj_text

        public static func == (name: Name, other: StaticString) -> Bool {
            name.text.count == other.utf8CodeUnitCount && memcmp(name.text.bytes, other.utf8Start, name.text.count) == 0
        }

        public static func == (name: Name, other: Name) -> Bool {
            name.text.count == other.text.count && memcmp(name.text.bytes, other.text.bytes, name.text.count) == 0
        }

        public static func ~= (pattern: StaticString, name: Name) -> Bool { name == pattern }

        public func hasPrefix(_ prefix: String) -> Bool {
            prefix.utf8.count <= text.count && prefix.utf8.elementsEqual(utf8.prefix(prefix.utf8.count))
        }

        public var utf8: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: text.bytes, count: text.count) }
        public var description: String { String(decoding: utf8, as: UTF8.self) }
    }
}

#if canImport(Glibc)
    import Glibc
#endif
