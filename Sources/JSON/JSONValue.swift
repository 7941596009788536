/// A value of JSON that outlives the text it was parsed from.
///
/// Texts are their UTF-8: for `String`, canonically equivalent texts are equal, and for JSON they are not.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case text([UInt8])
    case array([JSONValue])
    /// Of members of the same name the last one holds.
    case object([[UInt8]: JSONValue])

    public init(_ element: JSONElement) {
        switch element.kind {
        case .null: self = .null
        case .bool: self = .bool(element.bool == true)
        case .integer, .double: self = .number(element.exactNumber)
        case .string: self = .text(Array(element.utf8!))
        case .array: self = .array(element.elements.map(JSONValue.init))
        case .object:
            self = .object(Dictionary(element.members.map { (Array($0.name.utf8), JSONValue($0.value)) }) { _, last in last })
        }
    }

    public subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members[Array(name.utf8)]
    }

    public var string: String? {
        guard case .text(let bytes) = self else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    public var elements: [JSONValue]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    public var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    public var number: JSONNumber? {
        guard case .number(let value) = self else { return nil }
        return value
    }
}

extension JSONElement {
    /// The number as it is written; 0 when this is none.
    public var exactNumber: JSONNumber {
        if let integer { return JSONNumber(integer) }
        // The range of the root goes on to the end of the text.
        return JSONNumber(text.prefix { $0 > 0x20 })
    }

    /// Whether they are the same value.
    public static func == (element: JSONElement, value: JSONValue) -> Bool {
        switch value {
        case .null: element.isNull
        case .bool(let bool): element.bool == bool
        case .number(let number): (element.kind == .integer || element.kind == .double) && element.exactNumber == number
        case .text(let bytes): element.utf8.map { $0.elementsEqual(bytes) } == true
        case .array, .object: element.kind == (value.elements == nil ? .object : .array) && JSONValue(element) == value
        }
    }
}
