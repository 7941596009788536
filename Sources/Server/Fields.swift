import JSON
import OpenAI

/// Reads typed members of a request; a wrong type or a value out of range is 400 `invalid_value` naming the member.
package enum Fields {
    package static func bool(_ value: JSONElement, _ name: String) throws -> Bool {
        guard let bool = value.bool else { throw APIError.invalid(name, "'\(name)' must be a boolean.") }
        return bool
    }

    package static func integer(_ value: JSONElement, _ name: String, in range: ClosedRange<Int>) throws -> Int {
        // 1.0 is an integer in JSON Schema, so some clients write it so.
        let integer = value.integer ?? value.number.flatMap { Int(exactly: $0) }
        guard let integer else { throw APIError.invalid(name, "'\(name)' must be an integer.") }
        guard range.contains(integer) else { throw APIError.invalid(name, outside(name, range.lowerBound, range.upperBound)) }
        return integer
    }

    package static func number(_ value: JSONElement, _ name: String, in range: ClosedRange<Double>) throws -> Double {
        guard let number = value.number else { throw APIError.invalid(name, "'\(name)' must be a number.") }
        guard range.contains(number) else { throw APIError.invalid(name, outside(name, range.lowerBound, range.upperBound)) }
        return number
    }

    /// - Parameter limit: in characters (Unicode scalars).
    package static func string(_ value: JSONElement, _ name: String, atMost limit: Int = .max) throws -> String {
        guard let string = value.string else { throw APIError.invalid(name, "'\(name)' must be a string.") }
        if limit != .max, string.unicodeScalars.count > limit {
            throw APIError.invalid(name, "'\(name)' must have at most \(limit) characters.")
        }
        return string
    }

    package static func choice(_ value: JSONElement, _ name: String, of allowed: [String]) throws -> String {
        let string = try string(value, name)
        guard allowed.contains(string) else {
            throw APIError.invalid(name, "'\(name)' must be one of \(allowed.map { "'\($0)'" }.joined(separator: ", ")).")
        }
        return string
    }

    package static func object(_ value: JSONElement, _ name: String) throws {
        guard value.kind == .object else { throw APIError.invalid(name, "'\(name)' must be an object.") }
    }

    package static func array(_ value: JSONElement, _ name: String) throws {
        guard value.kind == .array else { throw APIError.invalid(name, "'\(name)' must be an array.") }
    }

    private static func outside(_ name: String, _ low: some Any, _ high: some Any) -> String {
        if (high as? Int) == .max { return "'\(name)' must be at least \(low)." }
        return "'\(name)' must be between \(low) and \(high)."
    }

    /// For objects in which a misspelt member would silently be none, such as a limit.
    /// - Parameter prefix: what stands before the members' names in errors, such as `quota.`.
    package static func refuseMembers(of element: JSONElement, _ prefix: String, except known: Set<String>) throws {
        for member in element.members where !known.contains(member.name.description) {
            let name = prefix + member.name.description.prefix(64)
            throw APIError(.unsupportedParameter, "'\(name)' is unknown here.", param: name)
        }
    }

    /// How deep objects and arrays nest; a scalar is 0.
    package static func depth(of value: JSONElement) -> Int {
        switch value.kind {
        case .object: 1 + (value.members.map { depth(of: $0.value) }.max() ?? 0)
        case .array: 1 + (value.elements.map { depth(of: $0) }.max() ?? 0)
        default: 0
        }
    }
}
