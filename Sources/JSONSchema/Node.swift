import JSON

/// A compiled schema; others are named by their index.
struct Node: Sendable {
    /// By `type`. Apart from the keywords, since nearly every schema has it and it is checked by one look.
    var types: Types
    var keywords: [Keyword]
    let resource: Int

    init(_ keywords: [Keyword] = [], resource: Int) {
        types = .all
        self.keywords = []
        self.resource = resource
        for keyword in keywords {
            if case .types(let types) = keyword { self.types = types } else { self.keywords.append(keyword) }
        }
        requireByWalk()
    }

    /// Names that are required and have schemas are found on the walk over an object's members.
    private mutating func requireByWalk() {
        for (place, keyword) in keywords.enumerated() {
            guard case .properties(var properties) = keyword else { continue }
            for (other, keyword) in keywords.enumerated() {
                guard case .required(let names) = keyword, properties.require(names) else { continue }
                keywords[place] = .properties(properties)
                keywords.remove(at: other)
                return
            }
        }
    }
}

/// A schema with an identifier of its own, in which `$dynamicRef` looks for anchors.
struct Resource: Sendable {
    var dynamicAnchors: [String: Int] = [:]
}

struct Types: OptionSet, Sendable {
    let rawValue: UInt8
    static let null = Types(rawValue: 1)
    static let boolean = Types(rawValue: 2)
    static let object = Types(rawValue: 4)
    static let array = Types(rawValue: 8)
    static let number = Types(rawValue: 16)
    static let string = Types(rawValue: 32)
    /// Whole numbers, however written.
    static let integer = Types(rawValue: 64)
    static let all = Types(rawValue: 127)

    static let named: [String: Types] = [
        "null": .null, "boolean": .boolean, "object": .object, "array": .array, "number": [.number, .integer], "string": .string,
        "integer": .integer,
    ]
}

/// Indirect, since keywords are copied each time that they are looked at.
indirect enum Keyword: Sendable {
    case nothing
    case types(Types)
    case const(JSONValue)
    case anyOfValues([JSONValue])
    case minimum(JSONNumber)
    case exclusiveMinimum(JSONNumber)
    case maximum(JSONNumber)
    case exclusiveMaximum(JSONNumber)
    case multipleOf(JSONNumber)
    case minLength(Int)
    case maxLength(Int)
    case pattern(Pattern)
    case minItems(Int)
    case maxItems(Int)
    case uniqueItems
    case items(prefix: [Int], rest: Int?)
    case contains(Int, least: Int, most: Int?)
    case minProperties(Int)
    case maxProperties(Int)
    case required([[UInt8]])
    case dependentRequired([(name: [UInt8], needs: [[UInt8]])])
    case properties(Properties)
    case propertyNames(Int)
    case dependentSchemas([(name: [UInt8], schema: Int)])
    case allOf([Int])
    case anyOf([Int])
    case oneOf([Int])
    case not(Int)
    case condition(if: Int, then: Int?, else: Int?)
    case reference(Int)
    /// The schema that the anchor names in the outermost resource with such an anchor, of those on the way here; else the one given.
    case dynamicReference(anchor: String, otherwise: Int)
    case unevaluatedItems(Int)
    case unevaluatedProperties(Int)
    /// The value must be a schema itself: the draft's own meta-schema.
    case schema

    /// As schemas spell it.
    var name: String {
        switch self {
        case .nothing: "false"
        case .types: "type"
        case .const: "const"
        case .anyOfValues: "enum"
        case .minimum: "minimum"
        case .exclusiveMinimum: "exclusiveMinimum"
        case .maximum: "maximum"
        case .exclusiveMaximum: "exclusiveMaximum"
        case .multipleOf: "multipleOf"
        case .minLength: "minLength"
        case .maxLength: "maxLength"
        case .pattern: "pattern"
        case .minItems: "minItems"
        case .maxItems: "maxItems"
        case .uniqueItems: "uniqueItems"
        case .items: "items"
        case .contains: "contains"
        case .minProperties: "minProperties"
        case .maxProperties: "maxProperties"
        case .required: "required"
        case .dependentRequired: "dependentRequired"
        case .properties: "properties"
        case .propertyNames: "propertyNames"
        case .dependentSchemas: "dependentSchemas"
        case .allOf: "allOf"
        case .anyOf: "anyOf"
        case .oneOf: "oneOf"
        case .not: "not"
        case .condition: "if"
        case .reference: "$ref"
        case .dynamicReference: "$dynamicRef"
        case .unevaluatedItems: "unevaluatedItems"
        case .unevaluatedProperties: "unevaluatedProperties"
        case .schema: "$schema"
        }
    }
}

/// `properties`, `patternProperties` and `additionalProperties` at once, so that a value's members are walked once.
struct Properties: Sendable {
    /// Sorted by name.
    var named: [(name: [UInt8], schema: Int)] = []
    var patterns: [(pattern: Pattern, schema: Int)] = []
    var additional: Int?
    /// Those of the first 64 that must be there, as bits.
    private(set) var required: UInt64 = 0

    /// - Returns: false where some of the names have no schema, or too many have; they must be looked for then.
    mutating func require(_ names: [[UInt8]]) -> Bool {
        var bits: UInt64 = 0
        for name in names {
            guard let place = name.withUnsafeBytes({ place(of: $0) }), place < 64 else { return false }
            bits |= 1 << UInt64(place)
        }
        required = bits
        return true
    }

    /// In `named`.
    func place(of name: UnsafeRawBufferPointer) -> Int? {
        var low = 0
        var high = named.count
        while low < high {
            let middle = (low + high) / 2
            let order = named[middle].name.withUnsafeBytes { compare($0, name) }
            if order == 0 { return middle }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return nil
    }
}

/// As memcmp(3) orders them, the shorter first of two that begin alike.
func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    for (first, second) in zip(left, right) where first != second { return first < second ? -1 : 1 }
    return left.count - right.count
}
