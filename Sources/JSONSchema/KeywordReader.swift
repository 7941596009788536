import JSON

/// Reads the keywords of one schema, each held to what the draft allows for it (draft 2020-12 validation, §6; core, §10).
struct KeywordReader {
    let place: Place
    let refusesSlowPatterns: Bool

    private func value(_ name: String) -> JSONValue? { place.value[name] }

    private func error(_ name: String, _ reason: String) -> SchemaError {
        .invalid(pointer: "\(place.pointer)/\(Place.escaped(name))", reason: reason)
    }

    // MARK: Values of keywords

    func text(_ name: String) throws(SchemaError) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else { throw error(name, "It must be a string.") }
        return text
    }

    func count(_ name: String) throws(SchemaError) -> Int? {
        guard let value = value(name) else { return nil }
        guard let number = value.number, number.isInteger, number >= JSONNumber(0) else {
            throw error(name, "It must be a whole number that is not negative.")
        }
        // More than there can be of anything.
        return number.integer ?? .max - 1
    }

    func number(_ name: String) throws(SchemaError) -> JSONNumber? {
        guard let value = value(name) else { return nil }
        guard let number = value.number else { throw error(name, "It must be a number.") }
        return number
    }

    func flag(_ name: String) throws(SchemaError) -> Bool {
        guard let value = value(name) else { return false }
        guard let flag = value.bool else { throw error(name, "It must be true or false.") }
        return flag
    }

    /// Names, each once.
    func names(_ name: String, in value: JSONValue?) throws(SchemaError) -> [[UInt8]] {
        guard let value else { return [] }
        var names: [[UInt8]] = []
        for element in value.elements ?? [.null] {
            guard case .text(let bytes) = element, !names.contains(bytes) else {
                throw error(name, "It must be an array of different strings.")
            }
            names.append(bytes)
        }
        return names
    }

    func schema(_ name: String) throws(SchemaError) -> Place? { value(name).map { place.below($0, name) } }

    func list(_ name: String) throws(SchemaError) -> [Place] {
        guard let value = value(name) else { return [] }
        guard let elements = value.elements, !elements.isEmpty else {
            throw error(name, "It must be an array of schemas, of one at least.")
        }
        return elements.enumerated().map { place.below($1, name, String($0)) }
    }

    func map(_ name: String) throws(SchemaError) -> [(name: [UInt8], place: Place)] {
        guard let value = value(name) else { return [] }
        guard case .object(let members) = value else { throw error(name, "It must be an object of schemas.") }
        return members.map { ($0, place.below($1, name, String(decoding: $0, as: UTF8.self))) }
    }

    // MARK: Keywords that hold no schemas

    /// Those that check a value, the quick ones first.
    func assertions() throws(SchemaError) -> [Keyword] {
        var found: [Keyword] = []
        if let types = try types() { found.append(.types(types)) }
        if let constant = value("const") { found.append(.const(constant)) }
        if let values = value("enum") {
            guard let constants = values.elements else { throw error("enum", "It must be an array.") }
            found.append(.anyOfValues(constants))
        }
        if let bound = try number("minimum") { found.append(.minimum(bound)) }
        if let bound = try number("exclusiveMinimum") { found.append(.exclusiveMinimum(bound)) }
        if let bound = try number("maximum") { found.append(.maximum(bound)) }
        if let bound = try number("exclusiveMaximum") { found.append(.exclusiveMaximum(bound)) }
        if let divisor = try number("multipleOf") {
            guard divisor > JSONNumber(0) else { throw error("multipleOf", "It must be above 0.") }
            found.append(.multipleOf(divisor))
        }
        if let least = try count("minLength") { found.append(.minLength(least)) }
        if let most = try count("maxLength") { found.append(.maxLength(most)) }
        if let text = try text("pattern") {
            guard let pattern = Pattern(Array(text.utf8)) else {
                throw error("pattern", "It is no regular expression of ECMA-262, or too large a one.")
            }
            try refuse(slow: pattern, at: place.below(.null, "pattern"))
            found.append(.pattern(pattern))
        }
        if let least = try count("minItems") { found.append(.minItems(least)) }
        if let most = try count("maxItems") { found.append(.maxItems(most)) }
        if try flag("uniqueItems") { found.append(.uniqueItems) }
        if let least = try count("minProperties") { found.append(.minProperties(least)) }
        if let most = try count("maxProperties") { found.append(.maxProperties(most)) }
        let required = try names("required", in: value("required"))
        if !required.isEmpty { found.append(.required(required)) }
        _ = (try count("minContains"), try count("maxContains"))
        if let dependents = try dependents() { found.append(.dependentRequired(dependents)) }
        return found
    }

    func refuse(slow pattern: Pattern, at place: Place) throws(SchemaError) {
        guard refusesSlowPatterns, pattern.isSlow else { return }
        throw place.error("The regular expression can take exponential time.")
    }

    // MARK: Keywords that check nothing

    /// - Throws: for what may be meant to check something, and would not.
    func refuseUnknown(_ names: some Collection<[UInt8]>) throws(SchemaError) {
        for name in names where !Self.known.contains(name) {
            throw error(String(decoding: name.prefix(64), as: UTF8.self), "This keyword is unknown.")
        }
    }

    private static let known = Set(
        [
            "$anchor", "$comment", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$ref", "$schema", "$vocabulary",
            "additionalProperties",
            "allOf", "anyOf", "const", "contains", "contentEncoding", "contentMediaType", "contentSchema", "default", "definitions",
            "dependentRequired", "dependentSchemas", "deprecated", "description", "else", "enum", "examples", "exclusiveMaximum",
            "exclusiveMinimum", "format", "if", "items", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains",
            "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties",
            "prefixItems",
            "properties", "propertyNames", "readOnly", "required", "then", "title", "type", "unevaluatedItems", "unevaluatedProperties",
            "uniqueItems", "writeOnly",
        ].map { Array($0.utf8) })

    /// Keywords that only say something, held to their types all the same.
    func checkNotes() throws(SchemaError) {
        for name in [
            "$id", "$schema", "$anchor", "$dynamicAnchor", "$comment", "title", "description", "format", "contentEncoding",
            "contentMediaType",
        ] {
            _ = try text(name)
        }
        for name in ["deprecated", "readOnly", "writeOnly"] { _ = try flag(name) }
        if let examples = value("examples"), examples.elements == nil { throw error("examples", "It must be an array.") }
    }

    private func types() throws(SchemaError) -> Types? {
        guard let value = value("type") else { return nil }
        var types: Types = []
        for element in value.elements ?? [value] {
            guard let name = element.string, let type = Types.named[name] else {
                throw error("type", "It must be one or more of null, boolean, object, array, number, string and integer.")
            }
            types.formUnion(type)
        }
        return types
    }

    private func dependents() throws(SchemaError) -> [(name: [UInt8], needs: [[UInt8]])]? {
        guard let value = value("dependentRequired") else { return nil }
        guard case .object(let members) = value else { throw error("dependentRequired", "It must be an object of arrays.") }
        var found: [(name: [UInt8], needs: [[UInt8]])] = []
        for (name, needs) in members { found.append((name, try names("dependentRequired", in: needs))) }
        return found
    }
}
