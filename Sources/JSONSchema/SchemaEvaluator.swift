import JSON

/// Applies schemas to one value.
struct SchemaEvaluator {
    private let schema: JSONSchema
    /// The resources on the way here, outermost first.
    private var scope: [Int] = []
    private var stepsLeft: Int
    private var nesting = 0
    private(set) var gaveUp = false
    /// What was asked of the value's text, which is not there; the result means nothing then.
    private(set) var lacksText = false
    /// The last keyword that failed, and the position of its value; the cause of the whole, when that is not valid.
    private(set) var failure: (keyword: String, position: Int)?

    init(_ schema: JSONSchema) {
        self.schema = schema
        stepsLeft = schema.limits.steps
    }

    mutating func isValid(_ value: JSONElement) -> Bool {
        var evaluated = Evaluated()
        return apply(schema.root, to: value, &evaluated)
    }

    /// - Parameter evaluated: gets what the schema has evaluated of the value, when it is valid.
    private mutating func apply(_ index: Int, to value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        guard stepsLeft > 0, nesting < schema.limits.nesting else {
            gaveUp = true
            return false
        }
        stepsLeft -= 1
        nesting += 1
        defer { nesting -= 1 }
        let resource = schema.nodes[index].resource
        let entersResource = scope.last != resource
        if entersResource { scope.append(resource) }
        defer { if entersResource { scope.removeLast() } }

        guard allows(schema.nodes[index].types, value) else {
            failure = ("type", value.position)
            return false
        }
        var own = Evaluated()
        for keyword in schema.nodes[index].keywords where !satisfies(keyword, value, &own) {
            if keyword.isOfItself { failure = (keyword.name, value.position) }
            return false
        }
        if schema.tracksEvaluated { evaluated.merge(own) }
        return true
    }

    private mutating func satisfies(_ keyword: Keyword, _ value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        switch keyword {
        case .nothing: return false
        case .types(let types): return allows(types, value)
        case .const(let constant): return isEqual(value, constant)
        case .anyOfValues(let constants): return constants.contains { isEqual(value, $0) }
        case .minimum(let bound): return !value.isNumber || !isLess(value, than: bound)
        case .exclusiveMinimum(let bound): return !value.isNumber || isGreater(value, than: bound)
        case .maximum(let bound): return !value.isNumber || !isGreater(value, than: bound)
        case .exclusiveMaximum(let bound): return !value.isNumber || isLess(value, than: bound)
        case .multipleOf(let divisor): return !value.isNumber || exact(value).isMultiple(of: divisor)
        case .minLength(let least): return value.codePoints.map { $0 >= least } ?? true
        case .maxLength(let most): return value.codePoints.map { $0 <= most } ?? true
        case .pattern(let pattern): return value.utf8.map { found(pattern, in: $0) } ?? true
        case .minItems(let least): return value.kind != .array || value.count >= least
        case .maxItems(let most): return value.kind != .array || value.count <= most
        case .uniqueItems: return value.kind != .array || hasUniqueElements(value)
        case .minProperties(let least): return value.kind != .object || value.count >= least
        case .maxProperties(let most): return value.kind != .object || value.count <= most
        case .required(let names): return value.kind != .object || names.allSatisfy { value.has($0) }
        case .dependentRequired(let needs):
            return value.kind != .object || needs.allSatisfy { !value.has($0.name) || $0.needs.allSatisfy { value.has($0) } }
        case .items(let prefix, let rest): return itemsSatisfy(prefix, rest, value, &evaluated)
        case .contains(let index, let least, let most): return contains(index, least, most, value, &evaluated)
        case .properties(let properties): return propertiesSatisfy(properties, value, &evaluated)
        case .propertyNames(let index): return value.members.allSatisfy { applyApart(index, to: $0.nameElement) }
        case .dependentSchemas(let dependents):
            return value.kind != .object
                || dependents.allSatisfy { !value.has($0.name) || apply($0.schema, to: value, &evaluated) }
        case .allOf(let all): return all.allSatisfy { apply($0, to: value, &evaluated) }
        case .anyOf(let some): return anyOf(some, value, &evaluated)
        case .oneOf(let some): return oneOf(some, value, &evaluated)
        case .not(let index): return !applyApart(index, to: value) && !gaveUp
        case .condition(let index, let then, let otherwise):
            let branch = apply(index, to: value, &evaluated) ? then : otherwise
            return !gaveUp && branch.map { apply($0, to: value, &evaluated) } ?? true
        case .reference(let index): return apply(index, to: value, &evaluated)
        case .dynamicReference(let anchor, let otherwise):
            let resource = scope.first { schema.resources[$0].dynamicAnchors[anchor] != nil }
            let target = resource.flatMap { schema.resources[$0].dynamicAnchors[anchor] }
            return apply(target ?? otherwise, to: value, &evaluated)
        case .unevaluatedItems(let index): return unevaluatedItemsSatisfy(index, value, &evaluated)
        case .unevaluatedProperties(let index): return unevaluatedPropertiesSatisfy(index, value, &evaluated)
        case .schema:
            if !value.hasText { lacksText = true }
            return SchemaCompiler.isSchema(JSONValue(value), limits: schema.limits)
        }
    }

    /// What it evaluates of the value does not count for this schema: the value is another one, or the schema is not meant.
    private mutating func applyApart(_ index: Int, to value: JSONElement) -> Bool {
        var evaluated = Evaluated()
        return apply(index, to: value, &evaluated)
    }

    private mutating func allows(_ types: Types, _ value: JSONElement) -> Bool {
        types.contains(value.schemaType) || types.contains(.integer) && isWhole(value)
    }

    // MARK: Numbers and constants

    private mutating func exact(_ value: JSONElement) -> JSONNumber {
        if value.kind == .double, !value.hasText { lacksText = true }
        return value.exactNumber
    }

    private mutating func isLess(_ value: JSONElement, than bound: JSONNumber) -> Bool {
        let nearest = value.number ?? 0
        return nearest == bound.approximate ? exact(value) < bound : nearest < bound.approximate
    }

    private mutating func isGreater(_ value: JSONElement, than bound: JSONNumber) -> Bool {
        let nearest = value.number ?? 0
        return nearest == bound.approximate ? exact(value) > bound : nearest > bound.approximate
    }

    private mutating func isWhole(_ value: JSONElement) -> Bool {
        if value.kind == .integer { return true }
        guard value.kind == .double, let nearest = value.number, nearest.rounded() == nearest else { return false }
        return exact(value).isInteger
    }

    private mutating func isEqual(_ value: JSONElement, _ constant: JSONValue) -> Bool {
        if case .text(let bytes) = constant { return value.utf8.map { text in bytes.withUnsafeBytes { compare($0, text) == 0 } } ?? false }
        if !value.isPlain, !value.hasText { lacksText = true }
        return value == constant
    }

    private mutating func found(_ pattern: Pattern, in text: UnsafeRawBufferPointer) -> Bool {
        switch pattern.find(in: text) {
        case .matches: return true
        case .differs: return false
        case .gaveUp:
            gaveUp = true
            return false
        }
    }

    // MARK: Several schemas on the same value

    private mutating func anyOf(_ some: [Int], _ value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        var isAny = false
        for index in some where apply(index, to: value, &evaluated) {
            isAny = true
            if !schema.tracksEvaluated { break }
        }
        return isAny && !gaveUp
    }

    private mutating func oneOf(_ some: [Int], _ value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        var count = 0
        for index in some where apply(index, to: value, &evaluated) {
            count += 1
            if count > 1 { break }
        }
        return count == 1 && !gaveUp
    }

    // MARK: Arrays

    private mutating func itemsSatisfy(_ prefix: [Int], _ rest: Int?, _ value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        guard value.kind == .array else { return true }
        for (place, element) in value.elements.enumerated() {
            guard let index = place < prefix.count ? prefix[place] : rest else { break }
            guard applyApart(index, to: element) else { return false }
        }
        if rest != nil { evaluated.hasAllItems = true } else { evaluated.firstItems = max(evaluated.firstItems, prefix.count) }
        return true
    }

    private mutating func contains(_ index: Int, _ least: Int, _ most: Int?, _ value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        guard value.kind == .array else { return true }
        var count = 0
        for (place, element) in value.elements.enumerated() {
            guard applyApart(index, to: element) else {
                if gaveUp { return false }
                continue
            }
            count += 1
            if schema.tracksEvaluated { evaluated.insert(item: place) }
            if count >= least && most == nil && !schema.tracksEvaluated { break }
        }
        return count >= least && most.map { count <= $0 } ?? true
    }

    private mutating func hasUniqueElements(_ value: JSONElement) -> Bool {
        var seen: Set<JSONValue> = []
        for element in value.elements {
            stepsLeft -= 1
            if !element.isPlain, !element.hasText { lacksText = true }
            guard seen.insert(JSONValue(element)).inserted else { return false }
        }
        return true
    }

    private mutating func unevaluatedItemsSatisfy(_ index: Int, _ value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        guard value.kind == .array, !evaluated.hasAllItems else { return true }
        for (place, element) in value.elements.enumerated() where place >= evaluated.firstItems && !evaluated.has(item: place) {
            guard applyApart(index, to: element) else { return false }
        }
        evaluated.hasAllItems = true
        return true
    }

    // MARK: Objects

    private mutating func propertiesSatisfy(_ properties: Properties, _ value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        guard value.kind == .object else { return true }
        var missing = properties.required
        let hasPatterns = !properties.patterns.isEmpty
        for member in value.members {
            var isKnown = false
            if let place = properties.place(of: member.name.utf8) {
                isKnown = true
                if place < 64 { missing &= ~(1 << UInt64(place)) }
                guard applyApart(properties.named[place].schema, to: member.value) else { return false }
            }
            if hasPatterns {
                for (pattern, index) in properties.patterns where found(pattern, in: member.name.utf8) {
                    isKnown = true
                    guard applyApart(index, to: member.value) else { return false }
                }
                if gaveUp { return false }
            }
            if !isKnown, let index = properties.additional {
                isKnown = true
                guard applyApart(index, to: member.value) else {
                    if schema.nodes[index].keywords.first?.name == "false" {
                        failure = ("additionalProperties", member.nameElement.position)
                    }
                    return false
                }
            }
            if isKnown && schema.tracksEvaluated { evaluated.insert(member: member.value.position) }
        }
        if missing != 0 { failure = ("required", value.position) }
        return missing == 0
    }

    private mutating func unevaluatedPropertiesSatisfy(_ index: Int, _ value: JSONElement, _ evaluated: inout Evaluated) -> Bool {
        for member in value.members where !evaluated.has(member: member.value.position) {
            guard applyApart(index, to: member.value) else { return false }
            evaluated.insert(member: member.value.position)
        }
        return true
    }
}

/// What schemas have looked at of one value.
private struct Evaluated {
    var hasAllItems = false
    /// So many of the first items.
    var firstItems = 0
    private var items: Set<Int>?
    /// By their positions.
    private var members: Set<Int>?

    func has(item: Int) -> Bool { items?.contains(item) ?? false }
    func has(member: Int) -> Bool { members?.contains(member) ?? false }

    mutating func insert(item: Int) { if items?.insert(item) == nil { items = [item] } }
    mutating func insert(member: Int) { if members?.insert(member) == nil { members = [member] } }

    mutating func merge(_ other: Evaluated) {
        hasAllItems = hasAllItems || other.hasAllItems
        firstItems = max(firstItems, other.firstItems)
        if let more = other.items { if items?.formUnion(more) == nil { items = more } }
        if let more = other.members { if members?.formUnion(more) == nil { members = more } }
    }
}

extension Keyword {
    /// Whether a failure is this keyword's own, rather than that of a schema below it, which says more.
    fileprivate var isOfItself: Bool {
        switch self {
        case .items, .properties, .propertyNames, .dependentSchemas, .allOf, .condition, .reference, .dynamicReference, .unevaluatedItems,
            .unevaluatedProperties:
            false
        default: true
        }
    }
}

extension JSONElement {
    fileprivate var schemaType: Types {
        switch kind {
        case .object: .object
        case .array: .array
        case .string: .string
        case .integer, .double: .number
        case .bool: .boolean
        case .null: .null
        }
    }

    fileprivate var isNumber: Bool { kind == .integer || kind == .double }
    /// Whether all of it is known without its text.
    fileprivate var isPlain: Bool { kind != .double && kind != .array && kind != .object }

    /// nil when this is no string.
    fileprivate var codePoints: Int? { utf8?.count { $0 & 0xC0 != 0x80 } }

    fileprivate func has(_ name: [UInt8]) -> Bool {
        name.withUnsafeBytes { has($0) }
    }
}
