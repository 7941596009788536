import Foundation
import JSON

/// A schema within a document.
struct Place: Sendable {
    let value: JSONValue
    /// Which of the identified schemas it is in, and the JSON Pointer from there.
    let resource: Int
    let pointer: String

    /// - Parameter steps: keywords, names and indices.
    func below(_ value: JSONValue, _ steps: String...) -> Place {
        Place(value: value, resource: resource, pointer: steps.reduce(pointer) { "\($0)/\(Place.escaped($1))" })
    }

    static func escaped(_ step: String) -> String {
        step.contains { $0 == "~" || $0 == "/" } ? step.replacing("~", with: "~0").replacing("/", with: "~1") : step
    }
}

/// The schemas with identifiers and their anchors, of all documents that have been read; references are looked up here (draft 2020-12 core, §8, §9).
struct SchemaDocuments {
    struct Identified {
        let uri: String
        let root: Place
        /// Whether its meta-schema knows the keywords that check values.
        let isValidating: Bool
        var anchors: [String: Place] = [:]
        var dynamicAnchors: [String: Place] = [:]
    }

    private(set) var identified: [Identified] = []
    private var byURI: [String: Int] = [:]
    private let limits: JSONSchema.Limits
    private let read: (String) -> JSONValue?
    private var schemas = 0

    static let metaSchema = "https://json-schema.org/draft/2020-12/schema"
    private static let validation = "https://json-schema.org/draft/2020-12/vocab/validation"

    init(limits: JSONSchema.Limits, read: @escaping (String) -> JSONValue?) {
        self.limits = limits
        self.read = read
    }

    /// Reads a document and answers its place.
    mutating func add(_ value: JSONValue, uri: String) throws(SchemaError) -> Place {
        let resource = try identify(value, uri: uri)
        try index(identified[resource].root, depth: 0)
        return identified[resource].root
    }

    /// Where a reference leads from a place; nil = there is nothing.
    mutating func resolve(_ reference: String, from place: Place) throws(SchemaError) -> Place? {
        let (uri, fragment) = Self.split(Self.absolute(reference, base: identified[place.resource].uri))
        guard let resource = try resource(of: uri) else { return nil }
        let root = identified[resource].root
        if fragment.isEmpty { return root }
        if fragment.hasPrefix("/") { return descend(root, fragment) }
        return identified[resource].anchors[fragment] ?? identified[resource].dynamicAnchors[fragment]
    }

    /// The schema's own identifier makes it a new resource.
    func entering(_ place: Place) -> Place {
        guard !place.pointer.isEmpty, let id = place.value["$id"]?.string,
            let resource = byURI[Self.split(Self.absolute(id, base: identified[place.resource].uri)).uri]
        else { return place }
        return identified[resource].root
    }

    private mutating func resource(of uri: String) throws(SchemaError) -> Int? {
        if let known = byURI[uri] { return known }
        guard let document = read(uri) else { return nil }
        let place = try add(document, uri: uri)
        // It may call itself something else.
        byURI[uri] = place.resource
        return place.resource
    }

    private mutating func identify(_ value: JSONValue, uri: String) throws(SchemaError) -> Int {
        let own = value["$id"]?.string.map { Self.split(Self.absolute($0, base: uri)).uri } ?? uri
        let resource = identified.count
        let root = Place(value: value, resource: resource, pointer: "")
        identified.append(Identified(uri: own, root: root, isValidating: isValidating(value)))
        byURI[own] = resource
        return resource
    }

    private func isValidating(_ value: JSONValue) -> Bool {
        guard let name = value["$schema"]?.string, name != Self.metaSchema, let vocabulary = read(name)?["$vocabulary"] else { return true }
        return vocabulary[Self.validation] != nil
    }

    /// Notes identifiers and anchors; they count only where a schema stands, not in an `enum` or a `const`.
    private mutating func index(_ place: Place, depth: Int) throws(SchemaError) {
        guard depth <= limits.depth else { throw .tooDeep(limit: limits.depth) }
        schemas += 1
        guard schemas <= limits.schemas else { throw .tooLarge(limit: limits.schemas) }
        guard case .object = place.value else { return }
        var place = place
        if !place.pointer.isEmpty, place.value["$id"]?.string != nil {
            place = identified[try identify(place.value, uri: identified[place.resource].uri)].root
        }
        if let anchor = place.value["$anchor"]?.string { identified[place.resource].anchors[anchor] = place }
        if let anchor = place.value["$dynamicAnchor"]?.string { identified[place.resource].dynamicAnchors[anchor] = place }
        for below in place.subschemas { try index(below, depth: depth + 1) }
    }

    private func descend(_ root: Place, _ fragment: String) -> Place? {
        var place = root
        for step in fragment.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            let name = (step.removingPercentEncoding ?? String(step)).replacing("~1", with: "/").replacing("~0", with: "~")
            let next: JSONValue?
            if let elements = place.value.elements {
                next = Int(name).flatMap { elements.indices.contains($0) ? elements[$0] : nil }
            } else {
                next = place.value[name]
            }
            guard let next else { return nil }
            place = entering(place.below(next, name))
        }
        return place
    }

    private static func split(_ uri: String) -> (uri: String, fragment: String) {
        let parts = uri.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let fragment = parts.count > 1 ? String(parts[1]) : ""
        return (String(parts[0]), fragment.hasPrefix("/") ? fragment : fragment.removingPercentEncoding ?? fragment)
    }

    /// RFC 3986 §5.2.
    private static func absolute(_ reference: String, base: String) -> String {
        if reference.isEmpty { return base }
        if reference.hasPrefix("#") { return split(base).uri + reference }
        if reference.prefixMatch(of: /[A-Za-z][A-Za-z0-9+.\-]*:/) != nil || base.isEmpty { return reference }
        return URL(string: reference, relativeTo: URL(string: base))?.absoluteString ?? reference
    }
}

extension Place {
    private static let single = [
        "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then", "unevaluatedItems",
        "unevaluatedProperties",
    ]
    private static let lists = ["allOf", "anyOf", "oneOf", "prefixItems"]
    private static let maps = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"]

    /// The schemas right below, by the keywords that hold such.
    var subschemas: [Place] {
        guard case .object(let members) = value else { return [] }
        var found: [Place] = []
        for (name, member) in members {
            let keyword = String(decoding: name, as: UTF8.self)
            if Self.single.contains(keyword) {
                found.append(below(member, keyword))
            } else if Self.lists.contains(keyword) {
                for (index, element) in (member.elements ?? []).enumerated() { found.append(below(element, keyword, String(index))) }
            } else if Self.maps.contains(keyword), case .object(let schemas) = member {
                for (name, schema) in schemas { found.append(below(schema, keyword, String(decoding: name, as: UTF8.self))) }
            }
        }
        return found
    }
}
