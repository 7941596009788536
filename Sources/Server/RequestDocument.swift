import JSON
import OpenAI

/// The parts of a body that every route reads before its own schema.
package enum RequestDocument {
    /// Parses the body, refuses what is no object and names that stand twice at the top, and lends the root to `body`.
    /// - Parameter allowsNull: the body may also be `null`.
    package static func read<Result>(
        _ bytes: [UInt8], _ parser: JSONParser, allowsNull: Bool = false, _ body: (JSONElement) throws -> Result
    ) throws -> Result {
        do {
            return try parser.parse(bytes) { root in
                guard root.kind == .object || (allowsNull && root.isNull) else {
                    throw APIError(.invalidRequest, "The body must be a JSON object.")
                }
                try checkNames(root)
                return try body(root)
            }
        } catch let error as JSONError {
            throw apiError(error)
        }
    }

    private static func checkNames(_ root: JSONElement) throws {
        var names: [JSONElement.Name] = []
        names.reserveCapacity(few)
        var seen: Set<String>?
        for member in root.members {
            if seen == nil, names.count < few {
                guard !names.contains(where: { $0 == member.name }) else { throw twice(member.name) }
                names.append(member.name)
            } else {
                var set = seen ?? Set(names.map(\.description))
                seen = nil
                guard set.insert(member.name.description).inserted else { throw twice(member.name) }
                seen = set
            }
        }
    }

    /// So many names are sooner compared each with each than put into a set.
    private static let few = 16

    private static func twice(_ name: JSONElement.Name) -> APIError {
        APIError(.jsonParseError, "The member '\(name.description.prefix(64))' stands twice in the body.")
    }

    private static func apiError(_ error: JSONError) -> APIError {
        switch error {
        case .syntax: APIError(.jsonParseError, "The body is not valid JSON.")
        case .tooDeep(let limit): APIError(.jsonTooDeep, "The body nests deeper than \(limit) levels.")
        case .tooManyMembers(let limit): APIError(.invalidRequest, "An object in the body has more than \(limit) members.")
        case .tooManyElements(let limit): APIError(.invalidRequest, "An array in the body has more than \(limit) elements.")
        case .outOfMemory: .unavailable()
        }
    }
}
