import JSON

/// Turns schemas into nodes. Every keyword's value is checked, also where no value would ever get to it.
struct SchemaCompiler {
    private(set) var nodes: [Node] = []
    private(set) var tracksEvaluated = false
    private var documents: SchemaDocuments
    private let limits: JSONSchema.Limits
    /// Of all `enum` so far.
    private var values = 0
    /// False: references may lead anywhere.
    private var isResolving = true
    private var known: [String: Int] = [:]
    /// Known, but not compiled yet: schemas refer to each other in circles.
    private var waiting: [(index: Int, place: Place)] = []

    init(limits: JSONSchema.Limits, documents: SchemaDocuments) {
        self.limits = limits
        self.documents = documents
    }

    /// Whether the value is a schema, as the draft's meta-schema has it.
    static func isSchema(_ value: JSONValue, limits: JSONSchema.Limits) -> Bool {
        var compiler = SchemaCompiler(limits: limits, documents: SchemaDocuments(limits: limits) { _ in nil })
        compiler.isResolving = false
        return (try? compiler.compile(value)) != nil
    }

    mutating func compile(_ schema: JSONValue) throws(SchemaError) -> Int {
        let root = node(try documents.add(schema, uri: ""))
        while let (index, place) = waiting.popLast() {
            guard nodes.count <= limits.schemas else { throw .tooLarge(limit: limits.schemas) }
            nodes[index] = Node(try keywords(place), resource: place.resource)
        }
        return root
    }

    /// By the number that nodes have of it.
    var resources: [Resource] {
        documents.identified.map { resource in
            Resource(dynamicAnchors: resource.dynamicAnchors.compactMapValues { known[Self.key($0)] })
        }
    }

    private static func key(_ place: Place) -> String { "\(place.resource)#\(place.pointer)" }

    private mutating func node(_ place: Place) -> Int {
        let place = documents.entering(place)
        let key = Self.key(place)
        if let index = known[key] { return index }
        known[key] = nodes.count
        waiting.append((nodes.count, place))
        nodes.append(Node(resource: place.resource))
        return nodes.count - 1
    }

    private mutating func keywords(_ place: Place) throws(SchemaError) -> [Keyword] {
        if let bool = place.value.bool { return bool ? [] : [.nothing] }
        guard case .object(let members) = place.value else { throw place.error("A schema is an object or a boolean.") }
        let reader = KeywordReader(place: place, refusesSlowPatterns: limits.refusesSlowPatterns)
        if limits.refusesUnknownKeywords { try reader.refuseUnknown(members.keys) }
        values += place.value["enum"]?.elements?.count ?? 0
        guard values <= limits.enumValues else { throw .tooManyValues(limit: limits.enumValues) }
        var found: [Keyword] = []
        if documents.identified[place.resource].isValidating { found += try reader.assertions() }
        try reader.checkNotes()
        if let reference = try reader.text("$ref") { found += try follow(reference, from: place).map { [.reference($0)] } ?? [] }
        if let reference = try reader.text("$dynamicRef") { found += try followDynamically(reference, from: place) }
        found += try arrays(place, reader)
        found += try objects(place, reader)
        found += try combinations(place, reader)
        for name in ["$defs", "definitions"] { _ = try reader.map(name).map { node($0.place) } }
        // Anchors must have nodes where they stand, to be found at validation.
        for anchor in documents.identified[place.resource].dynamicAnchors.values { _ = node(anchor) }
        if members[Array("unevaluatedItems".utf8)] != nil || members[Array("unevaluatedProperties".utf8)] != nil { tracksEvaluated = true }
        // Last, when everything else has been evaluated.
        if let below = try reader.schema("unevaluatedItems") { found.append(.unevaluatedItems(node(below))) }
        if let below = try reader.schema("unevaluatedProperties") { found.append(.unevaluatedProperties(node(below))) }
        return found
    }

    // MARK: References

    private mutating func follow(_ reference: String, from place: Place) throws(SchemaError) -> Int? {
        if !isResolving { return nil }
        if let target = try documents.resolve(reference, from: place) { return node(target) }
        guard reference == SchemaDocuments.metaSchema else { throw .unresolved(pointer: place.pointer, reference: reference) }
        nodes.append(Node([.schema], resource: place.resource))
        return nodes.count - 1
    }

    private mutating func followDynamically(_ reference: String, from place: Place) throws(SchemaError) -> [Keyword] {
        guard isResolving, let target = try documents.resolve(reference, from: place) else {
            return try follow(reference, from: place).map { [.reference($0)] } ?? []
        }
        // Only an anchor that is dynamic at its first place is looked for in others.
        guard let anchor = target.value["$dynamicAnchor"]?.string, reference.hasSuffix("#\(anchor)") else {
            return [.reference(node(target))]
        }
        return [.dynamicReference(anchor: anchor, otherwise: node(target))]
    }

    // MARK: Keywords that hold schemas

    private mutating func arrays(_ place: Place, _ reader: KeywordReader) throws(SchemaError) -> [Keyword] {
        var found: [Keyword] = []
        let prefix = try reader.list("prefixItems").map { node($0) }
        let rest = try reader.schema("items").map { node($0) }
        if !prefix.isEmpty || rest != nil { found.append(.items(prefix: prefix, rest: rest)) }
        if let below = try reader.schema("contains") {
            let isValidating = documents.identified[place.resource].isValidating
            let least = isValidating ? try reader.count("minContains") ?? 1 : 1
            found.append(.contains(node(below), least: least, most: isValidating ? try reader.count("maxContains") : nil))
        }
        return found
    }

    private mutating func objects(_ place: Place, _ reader: KeywordReader) throws(SchemaError) -> [Keyword] {
        var properties = Properties()
        properties.named = try reader.map("properties").map { ($0.name, node($0.place)) }
            .sorted { left, right in left.name.withUnsafeBytes { left in right.name.withUnsafeBytes { compare(left, $0) < 0 } } }
        for (name, below) in try reader.map("patternProperties") {
            guard let pattern = Pattern(name) else { throw below.error("The name is no regular expression.") }
            try reader.refuse(slow: pattern, at: below)
            properties.patterns.append((pattern, node(below)))
        }
        properties.additional = try reader.schema("additionalProperties").map { node($0) }
        var found: [Keyword] = []
        if !properties.named.isEmpty || !properties.patterns.isEmpty || properties.additional != nil {
            found.append(.properties(properties))
        }
        if let below = try reader.schema("propertyNames") { found.append(.propertyNames(node(below))) }
        let dependents = try reader.map("dependentSchemas").map { (name: $0.name, schema: node($0.place)) }
        if !dependents.isEmpty { found.append(.dependentSchemas(dependents)) }
        return found
    }

    private mutating func combinations(_ place: Place, _ reader: KeywordReader) throws(SchemaError) -> [Keyword] {
        var found: [Keyword] = []
        let all = try reader.list("allOf").map { node($0) }
        if !all.isEmpty { found.append(.allOf(all)) }
        let any = try reader.list("anyOf").map { node($0) }
        if !any.isEmpty { found.append(.anyOf(any)) }
        let one = try reader.list("oneOf").map { node($0) }
        if !one.isEmpty { found.append(.oneOf(one)) }
        if let below = try reader.schema("not") { found.append(.not(node(below))) }
        let then = try reader.schema("then").map { node($0) }
        let otherwise = try reader.schema("else").map { node($0) }
        if let below = try reader.schema("if") { found.append(.condition(if: node(below), then: then, else: otherwise)) }
        return found
    }
}

extension Place {
    func error(_ reason: String) -> SchemaError { .invalid(pointer: pointer, reason: reason) }
}
